"""Runs: what they hold, which stage continues which, and how they end."""

import json
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.params import parse_params
from pipeline.processes import identity
from pipeline.tracking import begin_run, stage_run
from pipeline.tracking.store import open_client
from tests.tracking_store import (  # noqa: F401
    RESULT_FILE,
    RUN_FILE,
    composed,
    empty_database,
    evaluate,
    finetune,
    history,
    params,
    place,
    run_python,
    store,
    stored,
)


def test_importing_tracking_imports_neither_mlflow_nor_tensorflow():
    code = "import sys, pipeline.tracking; print([m for m in ('mlflow', 'tensorflow', 'pandas') if m in sys.modules])"
    assert run_python(code).communicate()[0].strip() == "[]"


def test_a_begun_run_has_parameters_provenance_and_data_sets(params, store, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "wavy-name")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc123")
    run = finetune(params)
    found = stored(run)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == run.name == "wavy-name"
    written = json.loads(RUN_FILE.read_text())
    assert written.pop("environment")["packages"]["numpy"] == metadata.version("numpy")
    assert written == {"run_id": run.run_id, "experiment": "sample", "tracking_uri": f"sqlite:///{store}/mlflow.db"}
    assert found.data.params["finetune.learning_rate"] == str(params.finetune.learning_rate)
    assert found.data.params["data.classes"] == "null"
    assert found.data.params["data.split.scheme"] == "official"
    assert not [name for name in found.data.params if name.startswith(("evaluate.", "report."))]
    assert found.data.tags["dvc.exp.name"] == "wavy-name"
    assert found.data.tags["dvc.exp.baseline"] == "abc123"
    assert found.data.tags["model"] == params.model.id
    contexts = {item.tags[0].value: item.dataset for item in found.inputs.dataset_inputs}
    assert list(contexts) == ["train", "validation", "test"]
    assert json.loads(contexts["train"].profile)["num_rows"] == 4
    assert len({data.digest for data in contexts.values()}) == 3


def test_history_and_metrics_are_named_by_part(params, store):
    run = finetune(params, epochs=2)
    assert set(stored(run).data.metrics) == {"train/loss", "train/accuracy", "train/learning_rate", "validation/accuracy"}
    assert [point.step for point in run.client.get_metric_history(run.run_id, "train/loss")] == [1, 2]
    assert stored(evaluate(params)).data.metrics["test/top1"] == 0.5


def test_a_data_set_that_another_process_inserts_first_is_logged(params, store):
    """The other process comes between MLflow's look at the table of data sets and its own insertion."""
    from mlflow.entities import Dataset, DatasetInput
    from mlflow.store.tracking.dbmodels.models import SqlDataset
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    inputs = [DatasetInput(Dataset(split, "digest", "local", "videos.zip")) for split in ("train", "test")]
    with begin_run(params, RUN_FILE) as run:
        other = open_client()
        other_id = other.create_run(other.get_run(run.run_id).info.experiment_id).info.run_id
        came = []

        def come_first(session, *_):
            if not came and any(isinstance(row, SqlDataset) for row in session.new):
                came.append(True)
                other.log_inputs(other_id, datasets=inputs[::-1])

        event.listen(Session, "before_flush", come_first)
        try:
            run.log_inputs(inputs)
        finally:
            event.remove(Session, "before_flush", come_first)
    assert came
    for run_id in (run.run_id, other_id):
        logged = other.get_run(run_id).inputs.dataset_inputs
        assert {"train", "test"} <= {item.dataset.name for item in logged if item.dataset.digest == "digest"}


def test_run_without_dvc_experiment_is_named_after_the_model(params, store):
    run = finetune(params)
    assert run.name == f"{params.model.id}-{params.finetune.trainable}-{run.run_id[:6]}"
    assert stored(run).info.run_name == run.name


def test_each_stage_continues_the_same_run(params, store):
    begun = finetune(params)
    evaluated = evaluate(params)
    with stage_run(params, "report", RESULT_FILE) as reported:
        assert stored(reported).info.status == "RUNNING"
        Path("index.html").write_text("page")
        reported.log_artifact(Path("index.html"), "report")
    assert begun.run_id == evaluated.run_id == reported.run_id == json.loads(RESULT_FILE.read_text())["run_id"]
    assert evaluated.origin == reported.origin == "continued"
    found = stored(reported)
    assert found.info.status == "FINISHED"
    assert [found.data.tags[f"stage.{stage}"] for stage in ("finetune", "evaluate", "report")] == ["done"] * 3
    assert found.data.params["evaluate.views"] == str(params.evaluate.views)
    assert found.data.tags["report.confused_pairs"] == str(params.report.confused_pairs)
    assert (store / "mlartifacts" / reported.run_id / "artifacts/report/index.html").read_text() == "page"


def test_second_evaluation_of_one_training_gets_its_own_run(composed, params, store):
    first = finetune(params)
    evaluate(params, top1=0.5)
    changed = parse_params(composed | {"evaluate": composed["evaluate"] | {"views": 7}})
    second = evaluate(changed, top1=0.75)
    assert second.origin == "derived"
    assert json.loads(RESULT_FILE.read_text())["run_id"] == second.run_id != first.run_id
    old, new = stored(first), stored(second)
    assert new.data.tags["finetuned_by"] == first.run_id
    assert new.data.params == old.data.params | {"evaluate.views": "7"}
    scores = {"test/top1": 0.75, "validation/top1": 0.25, "accuracy/test_top1": 0.75, "accuracy/validation_top1": 0.25}
    assert new.data.metrics == scores  # training's are on its own run
    assert len(new.inputs.dataset_inputs) == 3
    assert new.data.tags["stage.finetune"] == "done"
    assert old.data.metrics["test/top1"] == 0.5


@pytest.mark.parametrize("removed", ["unknown", "deleted"])
def test_outputs_made_elsewhere_get_a_run_here(params, store, removed):
    first = finetune(params)
    if removed == "deleted":
        first.client.delete_run(first.run_id)
        old_id = first.run_id
    else:
        old_id = "0123456789abcdef0123456789abcdef"
        RUN_FILE.write_text(json.dumps({"run_id": old_id}))
    run = evaluate(params)
    assert run.origin == "restored" and run.run_id != old_id
    assert stored(run).data.tags["restored_from"] == old_id
    assert stored(run).data.params["model.id"] == params.model.id


@pytest.mark.parametrize(("raised", "status"), [(ValueError("no such layer"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_failure_is_recorded_and_writes_no_run_file(params, store, raised, status):
    with pytest.raises(type(raised)), begin_run(params, RUN_FILE) as run:
        raise raised
    found = stored(run)
    assert found.info.status == status
    assert found.data.tags["error"].startswith(f"finetune: {type(raised).__name__}")
    assert found.data.tags["stage.finetune"] != "done"
    assert not RUN_FILE.exists()
    if status == "FAILED":
        text = (store / "mlartifacts" / run.run_id / "artifacts/error.txt").read_text()
        assert "Traceback" in text and "no such layer" in text


def test_evaluation_that_failed_continues_its_run_even_with_other_parameters(composed, params, store):
    finetune(params)
    with pytest.raises(ValueError), stage_run(params, "evaluate", RUN_FILE):
        raise ValueError("first try")
    changed = parse_params(composed | {"evaluate": composed["evaluate"] | {"views": 7}})
    run = evaluate(changed)
    found = stored(run)
    assert run.origin == "continued" and found.info.status == "FINISHED"
    assert found.data.params["evaluate.views"] == "7"
    assert "error" not in found.data.tags


@pytest.mark.parametrize(
    ("owner", "origin"),
    [
        (identity(), "derived"),
        ("elsewhere:1:1", "derived"),  # on another machine, which cannot be seen
        (f"{identity()}1", "continued"),  # it has ended, and its number is another process's
        ("host:1", "continued"),  # as an earlier version wrote it
    ],
    ids=["alive", "elsewhere", "number given to another", "earlier version"],
)
def test_a_run_that_another_process_evaluates_is_not_used(params, store, owner, origin):
    begun = finetune(params)
    begun.set_tags({"stage.evaluate": owner})
    begun.client.update_run(begun.run_id, status="RUNNING")
    with stage_run(params, "evaluate", RUN_FILE) as run:
        assert run.origin == origin


def test_system_metrics_are_sampled_while_training(composed, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    params = parse_params(composed | {"tracking": composed["tracking"] | {"system_metrics": True}})
    with begin_run(params, RUN_FILE) as run:
        time.sleep(1)
    assert stored(run).data.metrics["system/system_memory_usage_megabytes"] > 0


def test_run_names_the_commit_and_whether_the_code_differs(params, store, monkeypatch):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=store).stdout.strip()

    (store / "stages").mkdir()
    (store / "stages/a.py").write_text("1")
    (store / ".gitignore").write_text("mlflow.db*\nmlartifacts/\nmodels/\n")
    (store / "params.yaml").write_text("a: 1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    (store / "params.yaml").write_text("a: 2")  # as DVC does
    tags = stored(finetune(params)).data.tags
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["git.dirty"] == "false"
    (store / "stages/new.py").write_text("1")
    elsewhere = store / "copy"  # no repository in the current directory: the original one is asked
    shutil.copytree(store / "data", elsewhere / "data")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(store))
    monkeypatch.chdir(elsewhere)
    tags = stored(finetune(params)).data.tags
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["git.dirty"] == "true"


def test_missing_manifest_is_one_line_and_begins_no_run(params, store):
    Path("data/manifest.csv").unlink()
    with pytest.raises(UserError, match=r"data/manifest.csv: not found"), begin_run(params, RUN_FILE):
        pass
    assert open_client().search_experiments(filter_string="name = 'sample'") == []
