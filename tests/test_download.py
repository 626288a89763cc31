import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas
import pytest
import yaml

from pipeline.console import UserError
from pipeline.params import Data
from pipeline.sources import archives
from pipeline.sources.manifest import duplicated_across, leaking_groups, read_manifest
from stages import download
from stages.download import run, summary
from tests.range_server import RangeServer, wait_until
from tests.sources.clips import CLASSES, archive, data, digest, directory_start, noise, split, ucf_members

MEMBERS = ucf_members()
CONTENT = archive(MEMBERS)


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """An empty repository to run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(archives, "FIRST_WAIT", 0.01)
    return tmp_path


@pytest.fixture
def server():
    with RangeServer({"a.zip": CONTENT}) as running:
        yield running


def check_clips(manifest: pandas.DataFrame, folder: Path = Path("data/clips")) -> None:
    """The folder holds exactly what the manifest says, byte for byte."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == list(manifest["clip"])
    for row in manifest.itertuples():
        content = (folder / row.clip).read_bytes()
        assert (len(content), digest(content)) == (row.bytes, row.sha256)


def served_members(server: RangeServer) -> int:
    return sum(last < directory_start(CONTENT) for _, last in server.ranges)


def test_a_subset_of_a_remote_archive(server):
    done = run(data(archive=server.url("a.zip"), num_classes=2, split=split(train_per_class=10, test_per_class=4)), seed=1)
    manifest = read_manifest("data/manifest.csv")
    pandas.testing.assert_frame_equal(manifest, done.manifest)
    check_clips(manifest)
    assert Counter(manifest["class"]) == {"ApplyEyeMakeup": 14, "ApplyLipstick": 14}
    assert dict(zip(manifest["class"], manifest["label"], strict=True)) == {"ApplyEyeMakeup": 0, "ApplyLipstick": 1}
    assert served_members(server) == 28
    row = manifest[manifest["clip"] == "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"].iloc[0]
    assert (row["group"], row["split"], row["source"]) == ("ApplyEyeMakeup_g01", "test", "UCF101/v_ApplyEyeMakeup_g01_c01.avi")
    assert leaking_groups(manifest) == []
    assert done.lines == [
        "layout v_<Class>_gNN_cNN (UCF-101's names) below UCF101; 3 classes (ApplyEyeMakeup, ApplyLipstick, Archery), 150 videos",
        "left out: 1 file that is not a video (UCF101/readme.txt)",
    ]
    text = summary(done)
    assert "together           2      28" in text and "fetched 0.1 MB, already there 0.0 MB" in text


def test_a_second_run_fetches_only_what_is_new_and_gives_the_same_bytes(server):
    one = data(archive=server.url("a.zip"), split=split(train_per_class=10, test_per_class=4))
    run(one, seed=1)
    first = Path("data/manifest.csv").read_bytes()
    server.reset_counts()
    again = run(one, seed=1)
    assert Path("data/manifest.csv").read_bytes() == first
    assert served_members(server) == 0 and again.fetched == 0
    bigger = run(data(archive=server.url("a.zip")), seed=1)
    assert served_members(server) == 150 - 3 * 14
    assert (len(bigger.manifest), bigger.reused) == (150, 3 * 14 * 3000)
    check_clips(bigger.manifest)


def test_clips_are_links_into_the_store_and_a_changed_clip_is_fetched_again(server):
    source = data(archive=server.url("a.zip"), num_classes=2)
    done = run(source, seed=1)
    clip = Path("data/clips") / done.manifest["clip"][0]
    assert clip.stat().st_nlink == 2
    clip.write_bytes(b"edited in place, and so in the store")
    server.reset_counts()
    check_clips(run(source, seed=1).manifest)
    assert served_members(server) == 1


def test_local_archive_and_remote_archive_agree(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT)
    local = run(data(archive="a.zip"), seed=1, clips=tmp_path / "l/clips", manifest=tmp_path / "l/m.csv")
    remote = run(data(archive=server.url("a.zip")), seed=1, clips=tmp_path / "r/clips", manifest=tmp_path / "r/m.csv")
    pandas.testing.assert_frame_equal(local.manifest, remote.manifest)
    check_clips(local.manifest, tmp_path / "l/clips")


@pytest.mark.parametrize("scheme", ["official", "grouped", "random"])
def test_schemes_leak_or_do_not(server, scheme):
    manifest = run(data(archive=server.url("a.zip"), split=split(scheme=scheme)), seed=1).manifest
    assert bool(leaking_groups(manifest)) == (scheme == "random")
    assert set(manifest["split"]) == {"train", "validation", "test"}


def test_identical_clips_on_both_sides_are_reported(server):
    members = {**MEMBERS, "UCF101/v_Archery_g20_c01.avi": MEMBERS["UCF101/v_Archery_g03_c01.avi"]}
    server.files["b.zip"] = archive(members)
    done = run(data(archive=server.url("b.zip")), seed=1)
    assert duplicated_across(done.manifest) == [("Archery/v_Archery_g20_c01.avi", "Archery/v_Archery_g03_c01.avi")]
    assert "training or validation: 1 (Archery/v_Archery_g20_c01.avi = Archery/v_Archery_g03_c01.avi)" in summary(done)


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
    monkeypatch.setattr("pipeline.sources.source.links_may_be_shared", lambda: link)
    before = state(folder)
    done = run(data(folder=str(folder), split=split(scheme="grouped")), seed=1)
    check_clips(done.manifest)
    assert Counter(done.manifest["split"]) == {"train": 12, "validation": 2, "test": 6}
    assert Path("data/clips/jump/0.mp4").samefile(folder / "jump/0.mp4") == link
    assert state(folder) == before


def test_a_listing_gives_labels_groups_and_splits(folder, tmp_path):
    rows = [f"{c}/{n}.mp4,{c.upper()},p{n},{'test' if n < 3 else 'train'}" for c in ("jump", "run") for n in range(10)]
    (tmp_path / "list.csv").write_text("path,label,group,split\n" + "\n".join(rows))
    source = {"folder": str(folder), "listing": "list.csv"}
    manifest = run(data(**source, split=split(scheme="given")), seed=1).manifest
    check_clips(manifest)
    assert set(manifest.loc[manifest["split"] == "test", "group"]) == {"p0", "p1", "p2"}
    assert list(manifest["class"].unique()) == ["JUMP", "RUN"] and leaking_groups(manifest) == []
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(row.rsplit(",", 2)[0] for row in rows))
    with pytest.raises(UserError, match="there is neither"):
        run(data(**source, split=split(scheme="given")), seed=1)


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
    monkeypatch.setattr("pipeline.sources.source.links_may_be_shared", lambda: link)
    members = frames(tmp_path / "videos")
    manifest = run(data(folder=str(tmp_path / "videos"), split=split(scheme="auto")), seed=1).manifest
    files = sorted(path.relative_to("data/clips").as_posix() for path in Path("data/clips").rglob("*") if path.is_file())
    assert files == sorted(members)
    row = manifest[manifest["clip"] == "run/clip3"].iloc[0]
    names = [f"{number:06d}.jpg" for number in range(4)]
    whole = "".join(f"{name}\0{digest(members[f'run/clip3/{name}'])}\n" for name in names)
    assert (row["source"], row["bytes"], row["sha256"]) == ("run/clip3", 200, digest(whole.encode()))
    assert Path("data/clips/run/clip3/000002.jpg").read_bytes() == members["run/clip3/000002.jpg"]
    (tmp_path / "a.zip").write_bytes(archive({f"set/{name}": content for name, content in members.items()}))
    packed = run(data(archive="a.zip", split=split(scheme="auto")), seed=1, clips=Path("z/clips"), manifest=Path("z/m.csv"))
    assert list(packed.manifest["sha256"]) == list(manifest["sha256"]) and list(packed.manifest["clip"]) == list(manifest["clip"])
    assert packed.fetched == 16 * 200
    again = run(data(archive="a.zip", split=split(scheme="auto")), seed=1, clips=Path("z/clips"), manifest=Path("z/m.csv"))
    assert (again.fetched, again.reused) == (0, 16 * 200)


def test_odd_names_of_classes_and_files_come_back(tmp_path):
    classes = ["walk, slowly", 'the "run"', "h\u00fcpfen", "\u8df3 \u821e", "it's", "a=b [c] (d) 100%"]
    for category in classes:
        for n in range(4):
            path = tmp_path / "videos" / category / f"{n}, 'x' \u00e4.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(noise(f"{category}{n}", 100))
    run(data(folder=str(tmp_path / "videos"), classes=classes, split=split(scheme="auto")), seed=1)
    manifest = read_manifest("data/manifest.csv")
    check_clips(manifest)
    assert list(manifest["class"].unique()) == sorted(classes)


def test_a_tilde_that_dvc_would_not_expand(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    with pytest.raises(UserError, match=f"DVC does not expand ~; give data.folder or data.archive as {folder}"):
        run(data(folder="~/videos", watch="~/videos", split=split(scheme="auto")), seed=1)
    assert run(data(folder="~/videos", watch=str(folder), split=split(scheme="auto")), seed=1).manifest["class"].nunique() == 2


def test_a_file_that_cannot_be_read_while_it_is_placed_is_one_line(folder, monkeypatch):
    monkeypatch.setattr("pipeline.sources.source.links_may_be_shared", lambda: False)

    def refuse(source, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.sources.folders.shutil.copyfile", refuse)
    with pytest.raises(UserError, match=r"videos/.*\.mp4: Permission denied; mend it, or take it out"):
        run(data(folder=str(folder), split=split(scheme="grouped")), seed=1)
    assert not Path("data/clips").exists()


@pytest.mark.real
def test_manifests_of_ucf_101_and_of_the_sample_are_what_they_were(real_archive, workspace):
    """SHA-256 of the manifests that the rules for names made before folders had layouts."""
    (workspace / "a.zip").write_bytes(real_archive)
    sample = Path(download.__file__).parents[1] / "data/sample.zip"
    for changes, expected in (
        ({"archive": str(sample)}, "bdf97c8ba17004e2ef25566b016e312d71f028f5ec3c999320408087dd5cf792"),
        ({"archive": "a.zip"}, "46a1ffaa1aa8e4f0f0e3375b3c236e43a4cb74920c8d795d53fbd7004d30a98c"),
        ({"archive": "a.zip", "split": split(fold=2)}, "4660ab4c5898e3c2a47b190954eb943c1c820a3991526a9ed3fbc78ebb73ab52"),
        (
            {"archive": "a.zip", "num_classes": 5, "split": split(train_per_class=30, test_per_class=20)},
            "bebd5e530d41b637a2fff026c893ad9a196c178f413b0a79173bcab3a606e231",
        ),
    ):
        run(data(**changes), seed=1)
        assert digest(Path("data/manifest.csv").read_bytes()) == expected


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
    run(data(folder=str(folder), split=split(scheme="grouped")), seed=1, clips=Path("out/clips"), manifest=Path("out/m.csv"))
    before = state(Path("out"))
    with pytest.raises(UserError, match=message) as caught:
        run(data(**source(folder)), seed=1, clips=Path("out/clips"), manifest=Path("out/m.csv"))
    assert "\n" not in str(caught.value)
    assert state(Path("out")) == before and sorted(p.name for p in Path("out").iterdir()) == ["clips", "m.csv"]


def start(workspace: Path, source: Data) -> subprocess.Popen:
    """The stage as DVC starts it: with the configuration in params.yaml."""
    root = Path(download.__file__).parents[1]
    code = (
        "import sys, yaml; from stages import download; from pipeline.console import run_command\n"
        "from pipeline.params import Data, Params\n"
        "content = yaml.safe_load(open('params.yaml'))\n"
        "download.load_params = lambda: Params.model_construct(seed=1, data=Data(**content))\n"
        "sys.argv = ['download']; run_command(download.main)"
    )
    (workspace / "params.yaml").write_text(yaml.safe_dump(source.model_dump()))
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=workspace, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(server, workspace):
    server.stall = 30.0
    start_of_last = directory_start(CONTENT) * 2 // 3
    server.misbehave("stall", times=100, where=lambda first, last: start_of_last < first and last < directory_start(CONTENT))
    source = data(archive=server.url("a.zip"), timeout=60.0, workers=1)
    process = start(workspace, source)
    store = workspace / ".cache/clips"
    wait_until(lambda: len(list(store.rglob("*.avi"))) >= 20 and list(store.rglob("*.part")), seconds=30)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (workspace / "data/clips").exists() and not (workspace / "data/manifest.csv").exists()
    kept = len(list(store.rglob("*.avi")))
    server._faults.clear()
    server.reset_counts()
    process = start(workspace, source)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    manifest = read_manifest(workspace / "data/manifest.csv")
    check_clips(manifest)
    assert len(manifest) == 150 and served_members(server) == 150 - kept
    assert not list(workspace.rglob("*.part")) and "already there" in errors


def test_an_error_is_one_line_and_status_one(server, workspace):
    process = start(workspace, data(archive=server.url("none.zip")))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.strip() == f"error: {server.url('none.zip')}: not found (HTTP 404); check data.archive"


@pytest.fixture(scope="session")
def real_archive() -> bytes:
    folder = os.environ.get("MOVINET_REAL_DATA")
    if not folder:
        pytest.skip("MOVINET_REAL_DATA names no folder with UCF101_videos.zip")
    return (Path(folder) / "UCF101_videos.zip").read_bytes()


@pytest.mark.real
@pytest.mark.parametrize("changes", [{}, {"num_classes": 2, "split": split(train_per_class=4, test_per_class=1)}])
def test_real_clips_cost_at_most_five_percent_more_than_their_bytes(real_archive, changes):
    with RangeServer({"a.zip": real_archive}) as server:
        with archives.Archive(server.url("a.zip"), 0, 5.0) as archive_:
            sizes = {name: info.compress_size for name, info in archive_.members.items()}
        server.reset_counts()
        manifest = run(data(archive=server.url("a.zip"), workers=8, **changes), seed=1).manifest
        wanted = sum(sizes[name] for name in manifest["source"])
        assert wanted <= server.bytes <= 1.05 * wanted, (server.bytes, wanted)
        assert server.requests <= len(manifest) + 3
        check_clips(manifest)
    if not changes:
        assert Counter(manifest["split"]) == {"test": 5 * 21, "train": 5 * 14 * 2, "validation": 5 * 4 * 2}
        assert manifest["class"].nunique() == 5 and set(CLASSES) <= set(manifest["class"])
