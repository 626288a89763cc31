"""Of two trials that share a stage one runs it; the other waits just that long."""

import threading

from pipeline.sweeping.stage_locks import StageLocks


class Waiting(threading.Thread):
    def __init__(self, turns):
        super().__init__(daemon=True)
        self.turns = turns
        self.start()

    def run(self):
        self.turns.wait()

    def done(self, timeout):
        self.join(timeout)
        return not self.is_alive()


def test_the_second_waits_until_the_shared_stage_is_done(tmp_path):
    one = StageLocks(tmp_path, {"embed": "shared", "finetune": "mine"})
    other = StageLocks(tmp_path, {"embed": "shared", "finetune": "its"})
    one.wait()
    one.entered("embed")
    second = Waiting(other)
    assert not second.done(1.2)
    one.entered("finetune")  # embed is done
    assert second.done(5)
    assert list(other.held) == ["finetune"]
    one.end(True)
    other.end(True)
    third = StageLocks(tmp_path, {"embed": "shared", "finetune": "mine"})
    third.wait()
    assert third.held == {}  # all of it has run
    third.end(True)


def test_when_the_first_fails_the_second_runs_the_stage(tmp_path):
    one, other = (StageLocks(tmp_path, {"embed": "shared"}) for _ in range(2))
    one.wait()
    one.entered("embed")
    second = Waiting(other)
    assert not second.done(1.2)
    one.end(False)
    assert second.done(5)
    assert list(other.held) == ["embed"]
    other.end(False)


def test_trials_that_share_nothing_start_one_after_another_and_run_at_once(tmp_path):
    one, other = StageLocks(tmp_path, {"embed": "one"}), StageLocks(tmp_path, {"embed": "other"})
    one.wait()
    second = Waiting(other)
    assert not second.done(1.2)  # DVC is still starting the first
    one.entered("embed")
    assert second.done(5)
    other.end(True)
    one.end(True)
