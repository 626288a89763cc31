import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas
import pytest
import yaml

from pipeline.settings import Data
from pipeline.sources import archives
from pipeline.sources.manifest import duplicated_across, leaking_groups, read_manifest
from stages.download import summary
from tests.downloading import check_clips, download, workspace  # noqa: F401
from tests.range_server import RangeServer, wait_until
from tests.sources.clips import CLASSES, archive, data, digest, directory_start, speed, split, ucf_members

ROOT = Path(__file__).parent.parent
MEMBERS = ucf_members()
CONTENT = archive(MEMBERS)


@pytest.fixture
def server():
    with RangeServer({"a.zip": CONTENT}) as running:
        yield running


def served_members(server: RangeServer) -> int:
    return sum(last < directory_start(CONTENT) for _, last in server.ranges)


def test_a_subset_of_a_remote_archive(server):
    done = download(data(archive=server.url("a.zip"), num_classes=2, split=split(train_per_class=10, test_per_class=4)))
    manifest = read_manifest("data/manifest.csv")
    pandas.testing.assert_frame_equal(manifest, done.manifest)
    check_clips(manifest)
    assert Counter(manifest["class"]) == {"ApplyEyeMakeup": 14, "ApplyLipstick": 14}
    assert dict(zip(manifest["class"], manifest["label"], strict=True)) == {"ApplyEyeMakeup": 0, "ApplyLipstick": 1}
    assert served_members(server) == 28
    row = manifest[manifest["clip"] == "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"].iloc[0]
    assert (row["group"], row["split"], row["source"]) == ("ApplyEyeMakeup_g01", "test", "UCF101/v_ApplyEyeMakeup_g01_c01.avi")
    assert leaking_groups(manifest) == []
    assert [note.message for note in done.notes] == [
        "layout v_<Class>_gNN_cNN (UCF-101's names) below UCF101; 3 classes (ApplyEyeMakeup, ApplyLipstick, Archery), 150 videos",
        "left out: 1 file that is not a video (UCF101/readme.txt)",
    ]
    text = summary(done)
    assert "together           2      28" in text and "fetched 0.1 MB, already there 0.0 MB" in text


def test_a_second_run_fetches_only_what_is_new_and_gives_the_same_bytes(server):
    one = data(archive=server.url("a.zip"), split=split(train_per_class=10, test_per_class=4))
    download(one)
    first = Path("data/manifest.csv").read_bytes()
    server.reset_counts()
    again = download(one)
    assert Path("data/manifest.csv").read_bytes() == first
    assert served_members(server) == 0 and again.fetched == 0
    bigger = download(data(archive=server.url("a.zip")))
    assert served_members(server) == 150 - 3 * 14
    assert (len(bigger.manifest), bigger.reused) == (150, 3 * 14 * 3000)
    check_clips(bigger.manifest)


def test_clips_are_links_into_the_store_and_a_changed_clip_is_fetched_again(server):
    source = data(archive=server.url("a.zip"), num_classes=2)
    done = download(source)
    clip = Path("data/clips") / done.manifest["clip"][0]
    assert clip.stat().st_nlink == 2
    clip.write_bytes(b"edited in place, and so in the store")
    server.reset_counts()
    check_clips(download(source).manifest)
    assert served_members(server) == 1


def test_local_archive_and_remote_archive_agree(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT)
    local = download(data(archive="a.zip"), clips=tmp_path / "l/clips", manifest=tmp_path / "l/m.csv")
    remote = download(data(archive=server.url("a.zip")), clips=tmp_path / "r/clips", manifest=tmp_path / "r/m.csv")
    pandas.testing.assert_frame_equal(local.manifest, remote.manifest)
    check_clips(local.manifest, tmp_path / "l/clips")


@pytest.mark.parametrize("scheme", ["official", "grouped", "random"])
def test_schemes_leak_or_do_not(server, scheme):
    manifest = download(data(archive=server.url("a.zip"), split=split(scheme=scheme))).manifest
    assert bool(leaking_groups(manifest)) == (scheme == "random")
    assert set(manifest["split"]) == {"train", "validation", "test"}


def test_identical_clips_on_both_sides_are_reported(server):
    members = {**MEMBERS, "UCF101/v_Archery_g20_c01.avi": MEMBERS["UCF101/v_Archery_g03_c01.avi"]}
    server.files["b.zip"] = archive(members)
    done = download(data(archive=server.url("b.zip")))
    assert duplicated_across(done.manifest) == [("Archery/v_Archery_g20_c01.avi", "Archery/v_Archery_g03_c01.avi")]
    assert "training or validation: 1 (Archery/v_Archery_g20_c01.avi = Archery/v_Archery_g03_c01.avi)" in summary(done)


@pytest.mark.real
def test_manifests_of_ucf_101_and_of_the_sample_are_what_they_were(real_archive, workspace):
    """SHA-256 of the manifests of the version that knew UCF-101's names alone, which had fewer columns."""
    (workspace / "a.zip").write_bytes(real_archive)
    sample = ROOT / "data/sample.zip"
    unread = {"duplicates": "ignore"}  # which would decode every clip, for a column that is left out here
    for changes, expected in (
        ({"archive": str(sample), "split": split(**unread)}, "bdf97c8ba17004e2ef25566b016e312d71f028f5ec3c999320408087dd5cf792"),
        ({"archive": "a.zip", "split": split(**unread)}, "46a1ffaa1aa8e4f0f0e3375b3c236e43a4cb74920c8d795d53fbd7004d30a98c"),
        (
            {"archive": "a.zip", "split": split(fold=2, **unread)},
            "4660ab4c5898e3c2a47b190954eb943c1c820a3991526a9ed3fbc78ebb73ab52",
        ),
        (
            {"archive": "a.zip", "num_classes": 5, "split": split(train_per_class=30, test_per_class=20, **unread)},
            "bebd5e530d41b637a2fff026c893ad9a196c178f413b0a79173bcab3a606e231",
        ),
    ):
        manifest = download(data(**changes)).manifest.drop(columns=["file", "start", "end", "duplicate_of"])
        assert digest(manifest.to_csv(index=False, lineterminator="\n").encode()) == expected


def start(workspace: Path, source: Data, **speeds) -> subprocess.Popen:
    """The stage as DVC starts it: with the configuration in params.yaml."""
    code = (
        "import sys, yaml; from stages import download; from pipeline.console import run_command\n"
        "from pipeline.params import Params\n"
        "from pipeline.settings import Data, Speed\n"
        "content = yaml.safe_load(open('params.yaml'))\n"
        "sections = {'data': Data(**content['data']), 'speed': Speed(**content['speed'])}\n"
        "download.load_params = lambda: Params.model_construct(seed=1, **sections)\n"
        "sys.argv = ['download']; run_command(download.main)"
    )
    (workspace / "params.yaml").write_text(yaml.safe_dump({"data": source.model_dump(), "speed": speed(**speeds).model_dump()}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=workspace, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_run_resumes(server, workspace):
    server.stall = 30.0
    start_of_last = directory_start(CONTENT) * 2 // 3
    server.misbehave("stall", times=100, where=lambda first, last: start_of_last < first and last < directory_start(CONTENT))
    source, slow = data(archive=server.url("a.zip")), {"timeout": 60.0, "connections": 1}
    process = start(workspace, source, **slow)
    store = workspace / ".cache/clips"
    wait_until(lambda: len(list(store.rglob("*.avi"))) >= 20 and list(store.rglob("*.part")), seconds=30)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (workspace / "data/clips").exists() and not (workspace / "data/manifest.csv").exists()
    kept = len(list(store.rglob("*.avi")))
    server._faults.clear()
    server.reset_counts()
    process = start(workspace, source, **slow)
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
@pytest.mark.parametrize(
    "changes",
    [
        {"split": split(duplicates="ignore")},  # without decoding every clip; the slow tests look for duplicates among them
        {"num_classes": 2, "split": split(train_per_class=4, test_per_class=1)},
    ],
)
def test_real_clips_cost_at_most_five_percent_more_than_their_bytes(real_archive, changes):
    with RangeServer({"a.zip": real_archive}) as server:
        with archives.Archive(server.url("a.zip"), 0, 5.0) as archive_:
            sizes = {name: info.compress_size for name, info in archive_.members.items()}
        server.reset_counts()
        manifest = download(data(archive=server.url("a.zip"), **changes)).manifest
        wanted = sum(sizes[name] for name in manifest["source"])
        assert wanted <= server.bytes <= 1.05 * wanted, (server.bytes, wanted)
        assert server.requests <= len(manifest) + 3
        check_clips(manifest)
    if "num_classes" not in changes:
        assert Counter(manifest["split"]) == {"test": 5 * 21, "train": 5 * 14 * 2, "validation": 5 * 4 * 2}
        assert manifest["class"].nunique() == 5 and set(CLASSES) <= set(manifest["class"])
