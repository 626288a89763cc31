"""The download stage on folders: what is placed, what stays unchanged, and what an error leaves behind."""

from collections import Counter
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.sources.manifest import leaking_groups, read_manifest
from tests.downloading import check_clips, download, workspace  # noqa: F401
from tests.sources.clips import archive, data, digest, noise, split


@pytest.fixture
def folder(tmp_path):
    for category in ("jump", "run"):
        (tmp_path / "videos" / category).mkdir(parents=True)
        for n in range(10):
            (tmp_path / "videos" / category / f"{n}.mp4").write_bytes(noise(f"{category}{n}", 100))
    return tmp_path / "videos"


def state(folder: Path) -> dict:
    return {
        path: (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("link", [True, False])
def test_a_folder_of_videos_is_linked_or_copied_and_left_alone(folder, monkeypatch, link):
    monkeypatch.setattr("pipeline.sources.folder_source.links_may_be_shared", lambda: link)
    before = state(folder)
    done = download(data(folder=str(folder), split=split(scheme="grouped")))
    check_clips(done.manifest)
    assert Counter(done.manifest["split"]) == {"train": 12, "validation": 2, "test": 6}
    assert Path("data/clips/jump/0.mp4").samefile(folder / "jump/0.mp4") == link
    assert state(folder) == before


def test_a_listing_gives_labels_groups_and_splits(folder, tmp_path):
    rows = [f"{c}/{n}.mp4,{c.upper()},p{n},{'test' if n < 3 else 'train'}" for c in ("jump", "run") for n in range(10)]
    (tmp_path / "list.csv").write_text("path,label,group,split\n" + "\n".join(rows))
    source = {"folder": str(folder), "listing": "list.csv"}
    manifest = download(data(**source, split=split(scheme="given"))).manifest
    check_clips(manifest)
    assert set(manifest.loc[manifest["split"] == "test", "group"]) == {"p0", "p1", "p2"}
    assert list(manifest["class"].unique()) == ["JUMP", "RUN"] and leaking_groups(manifest) == []
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(row.rsplit(",", 2)[0] for row in rows))
    with pytest.raises(UserError, match="there is neither"):
        download(data(**source, split=split(scheme="given")))


def frames(root: Path, count: int = 8) -> dict[str, bytes]:
    """Folders of images as clips: members by path; also written below `root`."""
    members = {
        f"{category}/clip{clip}/{number:06d}.jpg": noise(f"{category}{clip}{number}", 50)
        for category in ("jump", "run")
        for clip in range(count)
        for number in range(4)
    }
    for name, content in members.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return members


@pytest.mark.parametrize("link", [True, False])
def test_folders_of_images_are_placed_as_folders(tmp_path, monkeypatch, link):
    monkeypatch.setattr("pipeline.sources.folder_source.links_may_be_shared", lambda: link)
    members = frames(tmp_path / "videos")
    manifest = download(data(folder=str(tmp_path / "videos"), split=split(scheme="auto"))).manifest
    files = sorted(path.relative_to("data/clips").as_posix() for path in Path("data/clips").rglob("*") if path.is_file())
    assert files == sorted(members)
    row = manifest[manifest["clip"] == "run/clip3"].iloc[0]
    names = [f"{number:06d}.jpg" for number in range(4)]
    whole = "".join(f"{name}\0{digest(members[f'run/clip3/{name}'])}\n" for name in names)
    assert (row["source"], row["bytes"], row["sha256"]) == ("run/clip3", 200, digest(whole.encode()))
    assert Path("data/clips/run/clip3/000002.jpg").read_bytes() == members["run/clip3/000002.jpg"]
    (tmp_path / "a.zip").write_bytes(archive({f"set/{name}": content for name, content in members.items()}))
    packed = download(data(archive="a.zip", split=split(scheme="auto")), clips=Path("z/clips"), manifest=Path("z/m.csv"))
    assert list(packed.manifest["sha256"]) == list(manifest["sha256"]) and list(packed.manifest["clip"]) == list(manifest["clip"])
    assert packed.fetched == 16 * 200
    again = download(data(archive="a.zip", split=split(scheme="auto")), clips=Path("z/clips"), manifest=Path("z/m.csv"))
    assert (again.fetched, again.reused) == (0, 16 * 200)


def test_odd_names_of_classes_and_files_come_back(tmp_path):
    classes = ["walk, slowly", 'the "run"', "h\u00fcpfen", "\u8df3 \u821e", "it's", "a=b [c] (d) 100%"]
    for category in classes:
        for n in range(4):
            path = tmp_path / "videos" / category / f"{n}, 'x' \u00e4.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(noise(f"{category}{n}", 100))
    download(data(folder=str(tmp_path / "videos"), classes=classes, split=split(scheme="auto")))
    manifest = read_manifest("data/manifest.csv")
    check_clips(manifest)
    assert list(manifest["class"].unique()) == sorted(classes)


def test_a_tilde_that_dvc_would_not_expand(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    with pytest.raises(UserError, match=f"DVC does not expand ~; give data.folder or data.archive as {folder}"):
        download(data(folder="~/videos", watch="~/videos", split=split(scheme="auto")))
    assert download(data(folder="~/videos", watch=str(folder), split=split(scheme="auto"))).manifest["class"].nunique() == 2


def test_a_file_that_cannot_be_read_while_it_is_placed_is_one_line(folder, monkeypatch):
    monkeypatch.setattr("pipeline.sources.folder_source.links_may_be_shared", lambda: False)

    def refuse(source, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.sources.placing.shutil.copyfile", refuse)
    with pytest.raises(UserError, match=r"videos/.*\.mp4: Permission denied; repair or remove it"):
        download(data(folder=str(folder), split=split(scheme="grouped")))
    assert not Path("data/clips").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            lambda f: {"folder": str(f), "split": split(scheme="given")},
            r"takes the split from a listing's split column or from folders",
        ),
        (lambda f: {"folder": str(f), "classes": ["jmup", "run"]}, "did you mean jump"),
        (lambda f: {"folder": str(f)}, "needs UCF-101's names"),
        (lambda f: {"folder": str(f.parent / "data")}, "not found"),
        (lambda f: {"folder": str(f.parent / "bare")}, "no videos in class folders; expected <class>/<video>"),
    ],
)
def test_errors_leave_earlier_outputs_as_they_are(folder, tmp_path, source, message):
    (tmp_path / "bare").mkdir()
    download(data(folder=str(folder), split=split(scheme="grouped")), clips=Path("out/clips"), manifest=Path("out/m.csv"))
    before = state(Path("out"))
    with pytest.raises(UserError, match=message) as caught:
        download(data(**source(folder)), clips=Path("out/clips"), manifest=Path("out/m.csv"))
    assert "\n" not in str(caught.value)
    assert state(Path("out")) == before and sorted(p.name for p in Path("out").iterdir()) == ["clips", "m.csv"]


def test_a_class_with_few_training_clips_is_named(folder, capsys):
    for n in range(10, 70):
        (folder / "run" / f"{n}.mp4").write_bytes(noise(f"run{n}", 100))
    manifest = download(data(folder=str(folder), split=split(scheme="grouped"))).manifest
    of = Counter(manifest.loc[manifest["split"] == "train", "class"])
    expected = (
        f"1 class has less than a fifth of the training clips of run ({of['run']}): jump {of['jump']}; set finetune.balance"
    )
    assert expected in " ".join(capsys.readouterr().err.split())
    download(data(folder=str(folder), split=split(scheme="grouped", train_per_class=10)))
    assert "finetune.balance" not in capsys.readouterr().err
