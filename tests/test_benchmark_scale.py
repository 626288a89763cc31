"""The benchmark of growing data sets: its clips are distinct, its costs those of a process and its children."""

import subprocess
from pathlib import Path

import pytest
import yaml

from benchmarks import scale
from pipeline.console import UserError
from pipeline.files import sha256
from pipeline.sources.folders import folder_clips


@pytest.fixture
def source(tmp_path) -> Path:
    """Two files that only have to be copied."""
    for name in ("East", "West"):
        path = tmp_path / "source" / name / f"v_{name}_g01_c01.avi"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"RIFF" + name.encode())
    return tmp_path / "source"


def test_every_clip_is_a_file_of_its_own_in_classes_of_equal_size(source, tmp_path):
    folder = scale.distinct_clips(source, 120, 4, tmp_path / "many")
    found = folder_clips(str(folder)).clips
    assert len(found) == 120 == len({sha256(folder / clip.source) for clip in found})
    by_class = {name: [clip for clip in found if clip.category == name] for name in {clip.category for clip in found}}
    assert sorted(map(len, by_class.values())) == [30] * 4
    assert all({clip.number for clip in clips} == set(range(1, 26)) for clips in by_class.values())


def test_the_cost_of_a_step_has_its_children_and_its_failure_is_told(tmp_path):
    burn = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\n"
    (tmp_path / "parent.py").write_text(
        f"import subprocess, sys\n{burn}subprocess.run([sys.executable, 'child.py'], check=True)\n"
    )
    (tmp_path / "child.py").write_text(f"held = bytearray(100 * 2**20)\n{burn}")
    cpu, wall, memory = scale.run_step(["parent"], tmp_path)
    assert 0.6 < cpu < 5 and wall > 0.9
    assert memory > 100 * 2**20
    (tmp_path / "fails.py").write_text("raise SystemExit('no such disk')")
    with pytest.raises(UserError, match="fails failed: no such disk"):
        scale.run_step(["fails"], tmp_path)


def test_the_parameters_are_of_a_probe_on_the_folder(tmp_path):
    options = scale.parse_arguments(["--model", "a2", "--frames", "8", "cluster=dask", "cluster.workers=2"])
    scale.write_params(tmp_path, Path("/clips"), options)
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert params["data"]["folder"] == "/clips" and params["data"]["split"]["duplicates"] == "ignore"
    assert (params["model"]["id"], params["frames"]["size"], params["frames"]["count"]) == ("a2", 224, 8)
    assert params["finetune"]["trainable"] == "probe" and params["model"]["weights"] == "random"
    assert (params["cluster"]["engine"], params["cluster"]["workers"]) == ("dask", 2)


@pytest.mark.parametrize(("until", "count"), [(None, 10), ("embed", 3)])
def test_each_step_is_a_row_with_what_it_added(source, tmp_path, monkeypatch, until, count):
    done = []

    def run_step(words, repository):
        done.append(words)
        (repository / "data").mkdir(exist_ok=True)
        (repository / "data" / str(len(done))).write_bytes(bytes(10**6))
        return 5.0, 6.0, 2 * 10**9

    def clone(command, check):
        Path(command[-1]).mkdir(parents=True)

    monkeypatch.setattr(scale, "run_step", run_step)
    monkeypatch.setattr(subprocess, "run", clone)
    options = scale.parse_arguments(["--frames", "2", "--size", "32", *([] if until is None else ["--until", until])])
    points = scale.measure_point(source, tmp_path / "work", 50, options)
    assert [one.step for one in points] == list(scale.STEPS)[:count] and {one.disk for one in points} == {10**6}
    assert done == [words.split() for words in scale.STEPS.values()][:count]
    assert "| 50 | 5 | extract | 6.00 | 5.00 | 100 | 2.00 | 0.001 |" in scale.lines_of(points)
