"""One run for a trained classifier evaluated in one way, in whatever order and however often its later stages run."""

import json
import time

import pytest

from pipeline.params import parse_params
from pipeline.tracking import stage_run
from pipeline.tracking.provenance import PARENT_VARIABLE
from pipeline.tracking.store import open_client
from tests.tracking_store import (  # noqa: F401
    RESULT_FILE,
    RUN_FILE,
    composed,
    empty_database,
    evaluate,
    finetune,
    params,
    place,
    run_python,
    store,
    stored,
)


def export(params, size=1000):
    with stage_run(params, "export", RESULT_FILE) as run:
        run.log_metrics({"export": {"float32": {"bytes": size}}})
    return run


def report(params):
    with stage_run(params, "report", RESULT_FILE) as run:
        pass
    return run


def changed(composed, **sections):
    """The parameters with values of sections replaced."""
    return parse_params(composed | {name: composed[name] | values for name, values in sections.items()})


def runs():
    client = open_client()
    return client.search_runs([found.experiment_id for found in client.search_experiments()])


def test_training_now_and_exporting_later_is_one_run(composed, params, store):
    trained = finetune(params)
    evaluate(params)
    report(params)
    first = changed(composed, export={"formats": ["float32"]})
    for size, formats in ((1000, ["float32"]), (2000, ["float32", "int8"])):
        time.sleep(0.01)  # MLflow's clock counts milliseconds
        first = changed(composed, export={"formats": formats})
        assert export(first, size).run_id == trained.run_id
        assert report(first).run_id == trained.run_id
    (run,) = runs()
    assert run.data.metrics.items() >= {"test/top1": 0.5, "export/float32/bytes": 2000.0, "train/loss": 0.5}.items()
    assert run.info.status == "FINISHED"
    assert [run.data.tags[f"stage.{stage}"] for stage in ("finetune", "evaluate", "export", "report")] == ["done"] * 4
    assert run.data.tags["export.formats"] == '["float32", "int8"]'  # of the latest: MLflow's parameters cannot be changed
    assert run.data.tags["report.confused_pairs"] == str(params.report.confused_pairs)
    assert not [name for name in run.data.params if name.startswith(("export.", "report."))]


def test_evaluating_again_with_the_same_settings_updates_the_same_run(params, store):
    first = evaluate(params, top1=0.5) if finetune(params) else None
    time.sleep(0.01)
    second = evaluate(params, top1=0.625)
    assert second.origin == "continued" and second.run_id == first.run_id
    (run,) = runs()
    assert run.data.metrics["test/top1"] == 0.625


def test_each_evaluation_is_found_again(composed, params, store):
    first = evaluate(params, top1=0.5) if finetune(params) else None
    other = changed(composed, evaluate={"views": 7})
    second = evaluate(other, top1=0.75)
    assert export(other).run_id == report(other).run_id == second.run_id != first.run_id
    for asked, run in ((params, first), (other, second), (params, first)):
        time.sleep(0.01)
        assert evaluate(asked).run_id == run.run_id == json.loads(RESULT_FILE.read_text())["run_id"]
        assert report(asked).run_id == run.run_id
    assert len(runs()) == 2
    assert "export/float32/bytes" not in stored(first).data.metrics
    assert stored(second).data.params["evaluate.views"] == "7"


@pytest.mark.parametrize("order", [("evaluate", "export", "report"), ("export", "report", "evaluate"), ("report", "export")])
def test_stages_of_a_classifier_from_elsewhere_share_one_run(params, store, order):
    elsewhere = "0123456789abcdef0123456789abcdef"
    for file in (RUN_FILE, RESULT_FILE):
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"run_id": elsewhere}))
    does = {"evaluate": evaluate, "export": export, "report": report}
    found = [does[stage](params) for stage in order for _ in range(2)]
    assert [run.origin for run in found] == ["restored"] + ["continued"] * (len(found) - 1)
    (run,) = runs()
    assert run.data.tags["restored_from"] == elsewhere
    assert run.data.params.items() >= {"model.id": params.model.id, "evaluate.views": str(params.evaluate.views)}.items()


def test_a_run_whose_restoring_was_cut_off_is_not_used(params, store, monkeypatch):
    RESULT_FILE.parent.mkdir()
    RESULT_FILE.write_text(json.dumps({"run_id": "0" * 32}))
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.tracking.runs.Run.log_params", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt), stage_run(params, "report", RESULT_FILE):
            pass
    assert report(params).origin == "restored"
    assert report(params).origin == "continued"


def test_a_sweep_leaves_the_finished_trials_of_another_alone(params, store, monkeypatch):
    client = open_client()
    monkeypatch.setenv(PARENT_VARIABLE, "a" * 32)
    finetune(params)
    first = evaluate(params, top1=0.5)
    monkeypatch.setenv(PARENT_VARIABLE, "b" * 32)
    second = evaluate(params, top1=0.75)  # as where the code of evaluation has changed
    assert evaluate(params, top1=0.75).run_id == second.run_id != first.run_id
    assert client.get_run(first.run_id).data.metrics["test/top1"] == 0.5
    assert client.get_run(second.run_id).data.tags["mlflow.parentRunId"] == "b" * 32
    monkeypatch.delenv(PARENT_VARIABLE)
    assert export(params).run_id == second.run_id  # by results/run.json: the classifier of this working copy


EXPORTING = """
import sys, time
from pathlib import Path
from pipeline.params import load_params
from pipeline.tracking import stage_run
with stage_run(load_params(), "export", Path("results/run.json")) as run:
    print(run.run_id, flush=True)
    sys.stdin.readline()
    run.log_metrics({"order": float(sys.argv[1])})
"""


@pytest.mark.slow
def test_two_that_export_one_run_wait_for_each_other(composed, params, store):
    import yaml

    (store / "params.yaml").write_text(yaml.safe_dump(composed))
    finetune(params)
    run = evaluate(params)
    first = run_python(EXPORTING.replace("sys.argv[1]", "1"))
    assert first.stdout.readline().strip() == run.run_id
    second = run_python(EXPORTING.replace("sys.argv[1]", "2"))
    assert "waiting" in second.stderr.readline()
    for process in (first, second):
        _, errors = process.communicate("\n", timeout=60)
        assert process.returncode == 0, errors
    assert stored(run).data.metrics["order"] == 2
    assert len(runs()) == 1
