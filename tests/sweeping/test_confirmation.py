"""The best trial as an experiment: its run replaces the trial's, and other scores are an error."""

import pytest

from pipeline.artifacts import Metrics
from pipeline.sweeping import results
from pipeline.sweeping.experiments import TrialError
from pipeline.sweeping.plan import Sweep
from pipeline.sweeping.records import Records
from tests.sweeping.test_table import scores, trial

SWEEP = Sweep(name="x", objective="top1", swept=["model"], folder="/nowhere", process="vm:1:1", run_id="parent")


@pytest.fixture
def confirm(tmp_path, monkeypatch):
    """Confirms a trial with validation and test top-1 of 0.75 and 0.5; returns what is wrong, its record and the deleted runs."""

    def confirm(metrics=None, run_id="experiment", error=None):
        deleted = []

        def run_experiment(name, overrides, sweep, **options):
            if error is not None:
                raise error
            return "commit"

        def read_experiment(one, commit):
            one.metrics, one.commit = metrics, commit

        monkeypatch.setattr(results, "run_experiment", run_experiment)
        monkeypatch.setattr(results, "read_experiment", read_experiment)
        monkeypatch.setattr(results, "params_of", lambda commit: None)
        monkeypatch.setattr(results, "record_result", lambda one, params, sweep: setattr(one, "run_id", run_id))
        monkeypatch.setattr("pipeline.tracking.sweeps.delete_run", deleted.append)
        records = Records(tmp_path, "vm:1:1")
        one = trial("x-a0", 0, 0.75, 0.5, sweep="vm:1:1", run_id="in process")
        problem = results.confirm_best(one, SWEEP, records)
        return problem, one, records.trials(), deleted

    return confirm


def metrics(validation=0.75, test=0.5, log_loss=0.5) -> Metrics:
    return Metrics(validation=scores(validation, log_loss), test=scores(test, log_loss))


def test_its_run_replaces_that_of_the_trial(confirm):
    problem, one, (written,), deleted = confirm(metrics())
    assert problem == "" and deleted == ["in process"]
    assert (one.commit, one.run_id) == ("commit", "experiment") == (written.commit, written.run_id)


def test_an_experiment_that_dvc_restored_keeps_its_run(confirm):
    assert confirm(metrics(), run_id="in process")[3] == []


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (metrics(test=0.6), "test top1 is 0.5 as a trial and 0.6 as a DVC experiment"),
        (metrics(validation=0.7), "validation top1 is 0.75 as a trial and 0.7"),
        (metrics(log_loss=0.50001), "validation log_loss is 0.5 as a trial and 0.50001"),
    ],
)
def test_other_scores_are_named(confirm, found, message):
    assert message in confirm(found)[0]


def test_scores_that_differ_by_rounding_are_the_same(confirm):
    assert confirm(metrics(log_loss=0.5 + 1e-9))[0] == ""


def test_an_experiment_that_fails_leaves_the_trial_as_it_was(confirm):
    problem, one, written, deleted = confirm(error=TrialError("no disk"))
    assert problem.endswith("x-a0, failed: no disk")
    assert (one.commit, one.run_id, written, deleted) == (None, "in process", [], [])
