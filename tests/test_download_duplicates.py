"""The download stage and clips that show the same: one side of the split, the manifest, what is said, each setting."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.console import UserError
from pipeline.sources.manifest import duplicated_across, read_manifest
from stages.download import summary
from tests.downloading import download, workspace  # noqa: F401
from tests.duplicates.scenes import scene, write
from tests.sources.clips import data, split

# (copy, original): re-encoded, mirrored and trimmed, mirrored, and one of another class.
COPIES = {"walk/8.avi": "walk/0.avi", "walk/9.avi": "walk/1.avi", "run/9.avi": "run/0.avi", "run/8.avi": "walk/0.avi"}
SETS = [{"walk/0.avi", "walk/8.avi", "run/8.avi"}, {"walk/1.avi", "walk/9.avi"}, {"run/0.avi", "run/9.avi"}]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two classes of ten videos in two rooms; every one is a group of its own."""
    root = tmp_path_factory.mktemp("made") / "videos"
    clips = {f"{c}/{n}.avi": scene(room, 10 * room + n, 2.5) for room, c in enumerate(("run", "walk")) for n in range(8)}
    for path, images in clips.items():
        write(root / path, images)
    write(root / "walk/8.avi", np.clip(0.9 * clips["walk/0.avi"] + 10, 0, 255).astype(np.uint8))
    write(root / "walk/9.avi", clips["walk/1.avi"][12:, :, ::-1])
    write(root / "run/9.avi", clips["run/0.avi"][:, :, ::-1])
    write(root / "run/8.avi", clips["walk/0.avi"][:40])
    return root


def source(root: Path, **changes):
    return data(folder=str(root), split=split(**{"scheme": "grouped", **changes}))


def sides(manifest, names: set[str]) -> set[str]:
    return set(manifest.loc[manifest["source"].isin(names), "split"])


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_near_duplicates_are_on_one_side_of_a_grouped_split(made, tmp_path, capsys, kind):
    where = source(made)
    if kind == "archive":
        with zipfile.ZipFile(tmp_path / "v.zip", "w") as file:
            for path in sorted(made.rglob("*.avi")):
                file.write(path, path.relative_to(made))
        where = data(archive=str(tmp_path / "v.zip"), split=split(scheme="grouped"))
    done = download(where)
    for same in SETS:
        assert len(sides(done.manifest, same)) == 1
    assert done.manifest.set_index("clip")["duplicate_of"].to_dict() == {
        **dict.fromkeys(done.manifest["clip"], ""),
        **{name: min(same) for same in SETS for name in same},
    }
    assert done.manifest.set_index("source")["group"][["walk/0.avi", "walk/8.avi", "run/8.avi"]].nunique() == 1
    assert done.manifest["group"].nunique() == 20 - 4
    assert duplicated_across(done.manifest) == []
    said = capsys.readouterr().err
    assert said.count("near-duplicates share a group, so that none is on two sides of the split: 3 sets") == 1
    assert "warning: near-duplicates are in several classes: 1 set (run/8.avi = walk/0.avi = walk/8.avi); keep each" in said
    assert "warning: clips that show the same" not in said
    assert said.count("layout ") == 1, "what was said of the first plan is not said again"
    assert read_manifest(Path("data/manifest.csv")).equals(done.manifest)


def test_the_split_is_that_of_the_merged_groups(made):
    """As if the copies had been known from the start, and with more clips chosen only as the limits allow."""
    limited = download(source(made, train_per_class=3, test_per_class=2)).manifest
    assert {(c, s): len(rows) for (c, s), rows in limited.groupby(["class", limited["split"] == "test"])} == {
        ("run", False): 3, ("run", True): 2, ("walk", False): 3, ("walk", True): 2
    }  # fmt: skip
    for same in SETS:
        assert len(sides(limited, same)) <= 1
    again = download(source(made, train_per_class=3, test_per_class=2)).manifest
    assert again.equals(limited)


@pytest.mark.parametrize(("scheme", "duplicates"), [("grouped", "warn"), ("random", "group")])
def test_otherwise_they_are_reported(made, capsys, scheme, duplicates):
    ignored = download(source(made, scheme=scheme, duplicates="ignore")).manifest
    assert set(ignored["duplicate_of"]) == {""} and "near-duplicates" not in capsys.readouterr().err
    done = download(source(made, scheme=scheme, duplicates=duplicates))
    assert done.manifest.drop(columns="duplicate_of").equals(ignored.drop(columns="duplicate_of")), "never merged"
    assert set(done.manifest["duplicate_of"]) == {"", *(min(same) for same in SETS)}
    said = capsys.readouterr().err
    assert (
        "near-duplicates are split as if they differed: 3 sets (run/0.avi = run/9.avi, run/8.avi = walk/0.avi = walk/8.avi"
        in said
    )
    pairs = duplicated_across(done.manifest)
    assert pairs == sorted(
        (a, b)
        for same in SETS
        for a in same - set(done.manifest.loc[done.manifest["split"] == "test", "clip"])
        for b in same & set(done.manifest.loc[done.manifest["split"] == "test", "clip"])
    )
    assert f"warning: clips that show the same are in test and in training or validation: {len(pairs)} ({pairs[0][0]} = " in said
    assert len(pairs) > 0 and f"in test and in training or validation: {len(pairs)} (" in summary(done)


def test_identical_files_and_copies_of_them_are_one_set(made, tmp_path):
    root = tmp_path / "videos"
    shutil.copytree(made, root)
    shutil.copy(root / "walk/9.avi", root / "walk/twin.avi")
    manifest = download(source(root)).manifest
    same = {"walk/1.avi", "walk/9.avi", "walk/twin.avi"}
    assert set(manifest.loc[manifest["source"].isin(same), "duplicate_of"]) == {"walk/1.avi"}
    assert len(sides(manifest, same)) == 1 and manifest.loc[manifest["source"].isin(same), "group"].nunique() == 1


def test_merged_groups_may_leave_too_few(tmp_path):
    root = tmp_path / "videos"
    for room, category in enumerate(("run", "walk")):
        for number in range(3):
            write(root / category / f"{number}.avi", scene(room, 10 * room + number, 2.5))
    download(source(root))
    write(root / "walk/1.avi", scene(1, 10, 2.5)[:, :, ::-1])
    with pytest.raises(UserError, match=r"'walk' has only one group .*\(near-duplicates share a group, .*: 1 pair\)"):
        download(source(root))


def test_files_that_cannot_be_decoded_are_left_to_extract(made, tmp_path):
    root = tmp_path / "videos"
    shutil.copytree(made, root)
    (root / "walk/broken.avi").write_bytes(b"RIFF\x00\x00\x00\x00AVI " + bytes(50))
    manifest = download(source(root)).manifest
    assert "walk/broken.avi" in set(manifest["source"]) and len(set(manifest["duplicate_of"])) == 4


@pytest.mark.parametrize(
    ("scheme", "advice"), [("grouped", "give segments that overlap one group"), ("given", "scheme=grouped with")]
)
def test_overlapping_segments_with_groups_of_their_own(tmp_path, capsys, scheme, advice):
    root = tmp_path / "videos"
    for number in range(3):
        write(root / f"{number}.avi", scene(number, number, 2.5))
    lines = ["path,label,start,end,group,split"]
    for number in range(3):
        for part in range(6):
            start, split_ = 0.4 * part, ("train", "test", "validation")[(number + part) % 3]
            lines.append(f"{number}.avi,{'ab'[part % 2]},{start},{start + 0.5},g{number}{part},{split_}")
    (root / "list.csv").write_text("\n".join(lines))
    done = download(data(folder=str(root), listing=str(root / "list.csv"), split=split(scheme=scheme)))
    assert done.manifest["group"].nunique() == 18, "segments keep their groups"
    test = {(row.source, round(float(row.start) / 0.4)): row.split == "test" for row in done.manifest.itertuples()}
    expected = sum(test[source, part] != test[source, part + 1] for source, part in test if part < 5)
    assert len(duplicated_across(done.manifest)) == expected > 0
    assert f"in test and in training or validation: {expected} (" in summary(done)
    assert advice in next(line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: clips"))
