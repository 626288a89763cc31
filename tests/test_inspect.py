"""The command as users run it, on synthesised videos; the listing that it writes is planned by what download uses."""

import csv
import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from commands import inspect as command
from pipeline.console import UserError
from pipeline.inspection.content import Inspection
from pipeline.sources.kinds import open_source
from pipeline.sources.plan import plan_clips
from tests.imports import ROOT
from tests.sources.clips import data, speed, split
from tests.video.videos import write_av


def moving(seed: int, frames: int = 24, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Pictures of a scene of its own: coloured blocks under a square that moves along a path of its own."""
    random = np.random.default_rng(seed)
    blocks = random.integers(40, 200, (6, 8, 3)).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    steps = random.integers(-6, 7, (frames, 2)).cumsum(axis=0) + random.integers(0, 30, 2)
    pictures = []
    for x, y in steps:
        picture = blocks.copy()
        picture[np.arange(y, y + 16) % height][:, np.arange(x, x + 16) % width] = 255
        picture[np.ix_(np.arange(y, y + 16) % height, np.arange(x, x + 16) % width)] = 250
        pictures.append(picture)
    return pictures


def write(path: Path, seed: int, frames: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_av(path, frames, fps=12, width=64, height=48, pictures=moving(seed, frames))


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """A repository to run in, with the settings of this one."""
    root = tmp_path / "repository"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(ROOT / "params.yaml", root)
    return root


@pytest.fixture
def videos(tmp_path) -> Path:
    """Two classes of four scenes of two takes each."""
    root = tmp_path / "my videos"
    for number, label in enumerate(("jump", "run")):
        for scene in range(4):
            for take in (1, 2):
                write(root / label / f"{label} scene{chr(97 + scene)}_{take:02d}.mp4", 100 * number + 10 * scene + take)
    return root


def run(monkeypatch, capsys, *arguments: str) -> str:
    """Runs the command in this process; returns what it prints."""
    monkeypatch.setattr(sys, "argv", ["inspect", *map(str, arguments), "--workers", "1"])
    command.main()
    return capsys.readouterr().out


def found(out: str = "inspection") -> Inspection:
    return Inspection.read(Path(out) / "inspection.json")


def rows(out: str = "inspection") -> dict[str, dict[str, str]]:
    with open(Path(out) / "listing.csv", encoding="utf-8", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def planned(folder: Path, listing: str):
    source = data(folder=str(folder), listing=listing, watch=str(folder), split=split(scheme="auto"))
    with open_source(source, speed()) as opened:
        return plan_clips(opened, source, seed=1)


def test_the_listing_is_accepted_as_it_is_and_keeps_groups_together(videos, monkeypatch, capsys):
    printed = run(monkeypatch, capsys, videos)
    assert sorted(path.name for path in Path("inspection").iterdir()) == ["index.html", "inspection.json", "listing.csv"]
    plan = planned(videos, "inspection/listing.csv")
    assert plan.classes == ["jump", "run"]
    assert len(plan.clips) == 16
    assert {clip.source: clip.group for clip in plan.clips} == {path: row["group"] for path, row in rows().items()}
    sides = {
        clip.group: {name for name, part in plan.parts.items() if clip.group in {one.group for one in part}}
        for clip in plan.clips
    }
    assert all(len(names) == 1 for names in sides.values())
    assert set(sides) == {f"{label} scene{letter}" for label in ("jump", "run") for letter in "abcd"}
    assert printed.splitlines()[-1].endswith(f"-S \"data.folder='{videos}'\" -S \"data.listing='{videos}/listing.csv'\"")


def test_what_is_wrong_is_reported_and_left_out_of_the_listing(videos, monkeypatch, capsys):
    shutil.copy(videos / "jump/jump scenea_01.mp4", videos / "run/Copy of jump scenea_01.mp4")
    whole = (videos / "jump/jump sceneb_01.mp4").read_bytes()
    (videos / "jump/cut off.mp4").write_bytes(whole[: len(whole) // 2])
    (videos / "jump/empty.mp4").write_bytes(b"")
    (videos / "jump/text.mp4").write_text("some words")
    still = moving(5)[0].repeat(4, axis=0).repeat(4, axis=1)
    write_av(videos / "run/still.mp4", 24, fps=12, pictures=[still] * 24, width=256, height=192)
    write(videos / "run/blink.mp4", 6, frames=3)
    run(monkeypatch, capsys, videos)
    content = found()
    kinds = {finding.kind: finding.paths for finding in content.findings}
    assert kinds["broken"] == ["jump/cut off.mp4"]
    assert kinds["duplicates_across_classes"] == ["jump/jump scenea_01.mp4", "run/Copy of jump scenea_01.mp4"]
    assert kinds["frozen"] == ["run/still.mp4"]
    assert kinds["short"] == ["run/blink.mp4"]
    assert {one.path for one in content.unused if one.problem} == {"jump/empty.mp4", "jump/text.mp4"}
    listed = rows()
    assert len(listed) == 16 + 3
    assert not {"jump/cut off.mp4", "jump/empty.mp4", "jump/text.mp4"} & listed.keys()
    assert listed["run/Copy of jump scenea_01.mp4"]["group"] == listed["jump/jump scenea_01.mp4"]["group"] == "jump scenea"
    assert len(planned(videos, "inspection/listing.csv").clips) == 19
    assert content.clips == 19


def test_facts_of_a_video(videos, monkeypatch, capsys):
    run(monkeypatch, capsys, videos)
    video = next(one for one in found().videos if one.path == "jump/jump scenea_01.mp4")
    assert (video.label, video.group, video.split, video.broken) == ("jump", "jump scenea", None, None)
    assert (video.width, video.height, video.fps, video.codec) == (64, 48, 12.0, "h264")
    assert video.bytes == (videos / video.path).stat().st_size
    assert video.seconds == video.looked_at == 2.0
    assert video.motion > 20


def test_videos_without_classes_get_an_empty_label_to_fill_in(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "flat"
    for number in range(6):
        write(folder / f"p{number % 3}_{number}.mp4", number)
    printed = run(monkeypatch, capsys, folder)
    assert not found().recognised
    assert {row["label"] for row in rows().values()} == {""}
    assert rows()["p0_3.mp4"]["group"] == "person0"
    assert "fill in the column label of inspection/listing.csv (6 rows are empty), then:" in printed
    with pytest.raises(UserError, match="label ''"):
        planned(folder, "inspection/listing.csv")
    lines = Path("inspection/listing.csv").read_text().splitlines()
    filled = [lines[0], *(line.replace(",,", f",{'walk' if line[3] < '3' else 'run'},") for line in lines[1:])]
    Path("inspection/listing.csv").write_text("\n".join(filled))
    plan = planned(folder, "inspection/listing.csv")
    assert {clip.source: (clip.category, clip.group) for clip in plan.clips}["p0_3.mp4"] == ("run", "person0")


def test_splits_of_folders_are_kept(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "split"
    for seed, path in enumerate(
        f"{part}/{label}/{n}.mp4" for part in ("train", "test") for label in ("a", "b") for n in range(2)
    ):
        write(folder / path, seed)
    run(monkeypatch, capsys, folder)
    assert {path: row["split"] for path, row in rows().items()} == {path: path.split("/")[0] for path in rows()}
    assert "few_groups" not in {finding.kind for finding in found().findings}


def test_groups_of_the_layout_stay(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "scenes"
    for seed, path in enumerate(
        f"{label}/room{room}/p{n}_{label}.mp4" for label in ("a", "b") for room in range(3) for n in range(2)
    ):
        write(folder / path, seed)
    run(monkeypatch, capsys, folder)
    assert found().grouped_by == "layout"
    assert rows()["a/room1/p0_a.mp4"]["group"] == "room1"
    run(monkeypatch, capsys, folder, "--group-by", "person")
    assert rows()["a/room1/p0_a.mp4"]["group"] == "person0"
    run(monkeypatch, capsys, folder, "--group-by", "none")
    assert rows()["a/room1/p0_a.mp4"]["group"] == "a/room1/p0_a.mp4"


def test_segments_of_a_listing_are_kept(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "recordings"
    for number in range(3):
        write(folder / f"{number}.mp4", number, frames=48)
    lines = [f"{n}.mp4,{label},{start},{end}" for n in range(3) for label, start, end in (("a", 0, 1.5), ("b", 2, 9))]
    (folder / "list.csv").write_text("\n".join(["path,label,start,end", *lines]))
    run(monkeypatch, capsys, folder, "--listing", str(folder / "list.csv"))
    content = found()
    assert (len(content.videos), content.clips) == (3, 6)
    assert [(one.label, one.clips, one.seconds) for one in content.classes] == [("a", 3, 4.5), ("b", 3, 6.0)]
    plan = planned(folder, "inspection/listing.csv")
    assert sorted((clip.source, clip.category, *clip.segment) for clip in plan.clips) == sorted(
        (f"{n}.mp4", label, start, end) for n in range(3) for label, start, end in (("a", 0.0, 1.5), ("b", 2.0, 9.0))
    )


def test_segments_of_one_recording_keep_their_groups_and_splits(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "recordings"
    for number in range(4):
        write(folder / f"{number}.mp4", number, frames=48)
    shutil.copy(folder / "3.mp4", folder / "4.mp4")
    given = {
        (f"{n}.mp4", start): (label, f"p{person}{n}", split)
        for n in range(5)
        for person, (start, label, split) in enumerate(
            [(0.0, "a", "train"), (1.0, "b", "train"), (2.0, "a", "test"), (3.0, "b", "test")]
        )
    }
    lines = [f"{path},{label},{start},{start + 0.9},{group},{split}" for (path, start), (label, group, split) in given.items()]
    (folder / "list.csv").write_text("\n".join(["path,label,start,end,group,split", *lines]))
    run(monkeypatch, capsys, folder, "--listing", str(folder / "list.csv"))
    with open("inspection/listing.csv", encoding="utf-8", newline="") as file:
        written = {(row["path"], float(row["start"])): (row["label"], row["group"], row["split"]) for row in csv.DictReader(file)}
    copies = {key for key in given if key[0] in ("3.mp4", "4.mp4")}
    assert {key: written[key] for key in given if key not in copies} == {key: given[key] for key in given if key not in copies}
    assert {written[key][1] for key in copies} == {"p03"}, "all groups of two files that show the same are merged"
    content = found()
    assert [(one.label, one.groups, one.splits) for one in content.classes] == [
        ("a", 7, {"train": 5, "test": 5}),
        ("b", 7, {"train": 5, "test": 5}),
    ]
    assert content.videos[0].labels == {"a": 2, "b": 2}
    assert {finding.kind for finding in content.findings} == {"duplicates", "short_segments"}


def test_a_listed_file_that_cannot_be_used_is_in_the_listing(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "videos"
    for number in range(4):
        write(folder / f"{number}.mp4", number)
    (folder / "empty.mp4").touch()
    listed = [f"{name}.mp4,{label}" for name, label in (("0", "a"), ("1", "b"), ("2", "a"), ("empty", "b"))]
    (folder / "list.csv").write_text("\n".join(["path,label", *listed]))
    run(monkeypatch, capsys, folder, "--listing", str(folder / "list.csv"))
    notes = [finding.message for finding in found().findings if finding.kind == "source_note"]
    assert notes == ["1 video in the folder is not in the listing (3.mp4)"]


def test_names_that_csv_html_and_json_quote(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "odd"
    names = ["<b>bold<-b>", "com,ma", " space", "semi;colon", 'qu"ote', "it's", "=1+1", "#1", "🎬é", "sep=;"]
    for seed, (label, name) in enumerate((label, name) for label in ("d,e", "<i>") for name in names):
        write(folder / label / f"{name}.mp4", seed)
    run(monkeypatch, capsys, folder)
    plan = planned(folder, "inspection/listing.csv")
    assert sorted((clip.source, clip.category) for clip in plan.clips) == sorted(
        (f"{label}/{name}.mp4", label) for label in ("d,e", "<i>") for name in names
    )
    page = Path("inspection/index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;bold" in page and "<b>bold" not in page and "<i>" not in page


def test_an_archive_is_inspected_like_the_folder(videos, tmp_path, monkeypatch, capsys):
    archive = tmp_path / "videos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(videos.rglob("*.mp4")):
            file.write(path, path.relative_to(videos))
    run(monkeypatch, capsys, videos, "--out", "folder")
    run(monkeypatch, capsys, archive, "--out", "archive")
    assert found("archive").videos == found("folder").videos
    assert Path("archive/listing.csv").read_text() == Path("folder/listing.csv").read_text()


def test_json_is_what_the_file_holds(videos, monkeypatch, capsys):
    printed = run(monkeypatch, capsys, videos, "--json")
    assert json.loads(printed) == json.loads(Path("inspection/inspection.json").read_text())


def test_without_an_argument_the_source_of_the_parameters(videos, monkeypatch, capsys, workspace):
    text = (workspace / "params.yaml").read_text()
    text = text.replace("archive: data/sample.zip", "archive: null").replace("folder: null", f"folder: {videos}")
    (workspace / "params.yaml").write_text(text.replace("watch: data/sample.zip", f"watch: {videos}"))
    run(monkeypatch, capsys)
    assert found().source == str(videos)


def test_remote_archives_are_refused(monkeypatch, capsys):
    with pytest.raises(UserError, match="is remote"):
        run(monkeypatch, capsys, "https://example.com/videos.zip")


def test_nothing_that_can_be_decoded_is_an_error(tmp_path, monkeypatch, capsys):
    whole = write(tmp_path / "whole.mp4", 1).read_bytes()
    for label in ("a", "b"):
        (tmp_path / "broken" / label).mkdir(parents=True)
        (tmp_path / "broken" / label / "1.mp4").write_bytes(whole[:200])
    with pytest.raises(UserError, match="none of the 2 videos can be decoded"):
        run(monkeypatch, capsys, tmp_path / "broken")
    assert not Path("inspection").exists()


def test_a_folder_with_other_files_is_not_replaced(videos, monkeypatch, capsys):
    with pytest.raises(UserError, match="holds other files"):
        run(monkeypatch, capsys, videos, "--out", str(videos))
    assert len(list(videos.rglob("*.mp4"))) == 16


def test_a_second_inspection_replaces_the_first(videos, monkeypatch, capsys):
    run(monkeypatch, capsys, videos)
    shutil.rmtree(videos / "run")
    run(monkeypatch, capsys, videos)
    assert len(found().videos) == 8


def test_a_link_as_output_stays_a_link(videos, tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    Path("link").symlink_to(tmp_path / "elsewhere")
    run(monkeypatch, capsys, videos, "--out", "link")
    assert Path("link").is_symlink() and (tmp_path / "elsewhere" / "index.html").is_file()


def test_an_output_that_cannot_be_written_is_found_first(videos, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.arguments.os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="nothing may be written"):
        run(monkeypatch, capsys, videos, "--out", "a/b")


def test_a_video_is_not_a_source(videos, monkeypatch, capsys):
    with pytest.raises(UserError, match="is a video"):
        run(monkeypatch, capsys, next(videos.rglob("*.mp4")))
