"""Of two trials that share a stage one runs it; the other waits exactly until it is done."""

import threading

import pytest

from pipeline.sweeping import workspace
from pipeline.sweeping.stage_locks import StageLocks
from tests.sweeping.repository import repository  # noqa: F401


@pytest.fixture(autouse=True)
def in_a_repository(repository):  # noqa: F811
    """Locks record the state of the working copy."""


class Waiting(threading.Thread):
    def __init__(self, locks):
        super().__init__(daemon=True)
        self.locks = locks
        self.start()

    def run(self):
        self.locks.__enter__()

    def done(self, timeout):
        self.join(timeout)
        return not self.is_alive()


def test_the_second_waits_until_the_shared_stage_is_done(tmp_path):
    one = StageLocks(tmp_path, {"embed": "shared", "finetune": "mine"})
    other = StageLocks(tmp_path, {"embed": "shared", "finetune": "its"})
    one.__enter__()
    one.enter_stage("embed")
    second = Waiting(other)
    assert not second.done(1.2)
    one.enter_stage("finetune")  # embed is done
    assert second.done(5)
    assert list(other.held) == ["finetune"]
    one.enter_stage(None)
    one.__exit__()
    other.enter_stage("finetune")
    other.enter_stage(None)
    other.__exit__()
    third = StageLocks(tmp_path, {"embed": "shared", "finetune": "mine"})
    third.__enter__()
    assert third.held == {}  # all of it has run
    third.__exit__()


def test_when_the_first_fails_the_second_runs_the_stage(tmp_path):
    one, other = (StageLocks(tmp_path, {"embed": "shared"}) for _ in range(2))
    one.__enter__()
    one.enter_stage("embed")
    second = Waiting(other)
    assert not second.done(1.2)
    one.__exit__()
    assert second.done(5)
    assert list(other.held) == ["embed"]
    other.__exit__()


def test_trials_that_share_nothing_start_one_after_another_and_run_at_once(tmp_path):
    one, other = StageLocks(tmp_path, {"embed": "one"}), StageLocks(tmp_path, {"embed": "other"})
    one.__enter__()
    second = Waiting(other)
    assert not second.done(1.2)  # DVC is still starting the first
    assert workspace.RECORD.exists()
    one.enter_stage("embed")
    assert second.done(5)
    other.__exit__()
    one.__exit__()
