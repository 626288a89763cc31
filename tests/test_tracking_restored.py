"""Runs of results that DVC restored, so that no stage logged them: what they hold, and that each is made once."""

import shutil

import pytest
import yaml
from dvc.repo import Repo

from commands import ui
from pipeline.artifacts import METRICS, RUN, Metrics, RunRecord
from pipeline.tracking.restored import find_cached_results, log_missing
from pipeline.tracking.store import open_client
from tests.reporting.results import write_results
from tests.sweeping.repository import run_git
from tests.test_ui import run_ui
from tests.tracking_store import composed, empty_database, place, store  # noqa: F401

STAGE = {
    "cmd": "true",
    "outs": [
        "data/manifest.csv",
        *(f"results/{name}" for name in ("metrics.json", "history.csv", "predictions.csv", "held_out.json", "suspects.csv")),
        "results/run.json",
        "results/report",
    ],
}


@pytest.fixture
def restored(store, composed, monkeypatch) -> str:
    """A repository with an experiment whose results are in DVC's cache alone; returns the id of the run that computed them."""
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    (store / "data/manifest.csv").unlink()
    (store / "data").rmdir()
    write_results(store, ["a", "b"])
    (store / "results/report").mkdir()
    (store / "results/report/index.html").write_text("the page")
    (store / "results/report/model_card.md").write_text("# The card\n")
    record = RunRecord(run_id="1" * 32, environment={"python": "3.11"})
    record.write(RUN)
    (store / "params.yaml").write_text(yaml.safe_dump(composed))
    (store / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"evaluate": STAGE}}))
    (store / ".gitignore").write_text("/data\n/results\n/mlflow.db\n/mlartifacts\n")
    run_git("init", "-q", "-b", "main")
    run_git("config", "user.name", "Test")
    run_git("config", "user.email", "test@example.org")
    run_git("add", "-A")
    run_git("commit", "-q", "-m", "before any run")
    base = run_git("rev-parse", "HEAD")
    with Repo.init(str(store)) as repo:
        repo.commit(force=True)
    run_git("add", "-A")
    run_git("commit", "-q", "-m", "an experiment")
    run_git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/tall-boat", "HEAD")
    run_git("reset", "-q", "--hard", base)
    shutil.rmtree(store / "data")
    shutil.rmtree(store / "results")
    return record.run_id


def test_a_restored_experiment_gets_a_run_with_all_of_its_results(restored, store, monkeypatch):
    metrics = find_metrics()
    assert run_ui(monkeypatch), "the page opens afterwards"
    client = open_client()
    (experiment,) = [one for one in client.search_experiments() if one.name == "sample"]
    (run,) = client.search_runs([experiment.experiment_id])
    base = run_git("rev-parse", "HEAD")
    assert run.info.run_name == "tall-boat (restored)" and run.info.status == "FINISHED"
    tags = run.data.tags
    assert (tags["restored_from"], tags["dvc.exp.name"], tags["mlflow.source.git.commit"]) == (restored, "tall-boat", base)
    assert tags["stage.report"] == "done" and tags["report.confused_pairs"] and "git.dirty" not in tags
    note = tags["mlflow.note.content"]
    assert note.startswith(f"**Test top-1 {metrics.test.top1:.3f}") and "## The card" in note
    assert f"Restored from DVC's cache: run `{restored}` trained it" in note and "dvc exp apply tall-boat" in note
    assert run.data.metrics["accuracy/test_top1"] == run.data.metrics["test/top1"] == metrics.test.top1
    assert run.data.metrics["validation/log_loss"] == metrics.validation.log_loss
    assert run.data.metrics["label_errors/accuracy"] == 0.925
    assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == list(range(1, 13))
    assert run.data.params["finetune.trainable"] == "full" and "report.confused_pairs" not in run.data.params
    assert {item.dataset.name for item in run.inputs.dataset_inputs} == {"sample"} and len(run.inputs.dataset_inputs) == 3
    kept = {item.path for folder in ("", "report") for item in client.list_artifacts(run.info.run_id, folder or None)}
    assert kept >= {"predictions.csv", "suspects.csv", "held_out.json", "environment.json", "report/index.html"}


def find_metrics() -> Metrics:
    from pipeline.revisions import list_experiments, open_files

    (experiment,) = list_experiments()
    return Metrics.from_text(open_files(experiment.commit).read_text(str(METRICS)), METRICS)


def test_no_run_is_made_twice_nor_of_what_was_deleted_or_is_not_here(restored, store, capsys):
    found = find_cached_results()
    assert [one.record.run_id for one in found] == [restored]
    (run,) = log_missing(found)
    assert log_missing(found) == []
    client = open_client()
    client.delete_run(run.run_id)
    assert log_missing(found) == []
    shutil.rmtree(store / ".dvc/cache/files")
    assert find_cached_results() == []


def test_results_that_cannot_be_read_are_named(restored, store, capsys):
    (found,) = find_cached_results()
    cached = [path for path in (store / ".dvc/cache/files").rglob("*") if path.is_file()]
    (path,) = [path for path in cached if b"label_errors" in path.read_bytes()]
    path.unlink()
    assert log_missing([found]) == [] and "tall-boat: no run was made" in capsys.readouterr().err
    assert not open_client().search_runs([one.experiment_id for one in open_client().search_experiments()])


def test_a_later_stage_continues_the_run(restored, store, composed):
    from contextlib import ExitStack

    from pipeline.params import parse_params
    from pipeline.tracking.lookup import run_to_continue

    (run,) = log_missing(find_cached_results())
    with ExitStack() as locks:
        assert run_to_continue(open_client(), parse_params(composed), "report", restored, locks).info.run_id == run.run_id


def test_without_results_in_the_cache_nothing_is_made(place, monkeypatch):
    assert find_cached_results() == []
    assert ui.find_cached_results is find_cached_results and not (place / "mlflow.db").exists()
