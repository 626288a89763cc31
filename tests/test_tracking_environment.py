"""What a classifier was trained with stays with it, wherever its later stages run."""

import json
import platform
from importlib import metadata

import psutil

from pipeline.artifacts import RunRecord
from pipeline.tracking import begin_run, stage_run
from pipeline.tracking.environment import differences, environment, shown
from tests.tracking_store import RESULT_FILE, RUN_FILE, composed, empty_database, params, place, store  # noqa: F401


def test_the_environment_names_what_decides_the_results():
    found = environment(["NVIDIA H100"])
    assert json.loads(json.dumps(found)) == found
    assert (found["python"], found["gpus"]) == (platform.python_version(), ["NVIDIA H100"])
    assert found["processor"] and 1 <= found["cores"] <= psutil.cpu_count()
    for name in ("tensorflow", "tf-models-official", "opencv-python-headless"):
        assert found["packages"][name] == metadata.version(name)
    assert shown(found)["GPUs"] == "NVIDIA H100"
    assert shown(found | {"packages": {}})["tensorflow"] == "not installed"


def test_what_differs_is_named_and_nothing_else():
    one = environment()
    other = one | {"memory_gb": 1.0, "commit": "abc", "changed": True, "packages": one["packages"] | {"numpy": "0.1", "new": "2"}}
    assert differences(one, one) == differences(one, one | {"memory_gb": 1.0}) == []
    assert differences(one, other) == [
        ("code", shown(one)["code"], "commit abc, changed since"),
        ("new", "not installed", "2"),
        ("numpy", metadata.version("numpy"), "0.1"),
    ]


def test_evaluation_copies_the_environment_of_training(params, store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.tracking.runs.environment", lambda gpus: environment(gpus) | {"processor": "of training"})
        with begin_run(params, RUN_FILE, gpus=["NVIDIA H100"]) as run:
            pass
    with stage_run(params, "evaluate", RUN_FILE, RESULT_FILE):
        pass
    recorded = json.loads(RESULT_FILE.read_text())["environment"]
    assert recorded == json.loads(RUN_FILE.read_text())["environment"]
    assert (recorded["processor"], recorded["gpus"]) == ("of training", ["NVIDIA H100"])
    artifact = store / "mlartifacts" / run.run_id / "artifacts/environment.json"
    assert json.loads(artifact.read_text()) == recorded


def test_without_a_recorded_environment_none_is_invented(params, store):
    with begin_run(params, RUN_FILE):
        pass
    known = json.loads(RUN_FILE.read_text())
    del known["environment"]
    RUN_FILE.write_text(json.dumps(known))
    with stage_run(params, "evaluate", RUN_FILE, RESULT_FILE):
        pass
    assert RunRecord.read(RESULT_FILE).environment is None
