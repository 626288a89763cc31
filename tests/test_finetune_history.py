"""results/history.csv grows as a training runs, and a resumed training writes it whole again."""

import pandas as pd
import pytest

from pipeline import tracking
from pipeline.artifacts import HISTORY, ClassifierDescription, Decision
from stages import finetune
from tests.tracking_store import composed, empty_database, history, params, place, store  # noqa: F401

DECISION = Decision(threshold=0.5, by="coverage", level=0.95, coverage=0.95, precision=0.9, clip_seconds=2.0)
DESCRIPTION = ClassifierDescription(classes=["a", "b"], model="a0", fps=5.0, size=8, count=4, views=1, decision=DECISION)


def train(epochs, fail_after=None, first=1):
    """A training of `epochs`, the first of which is `first`; it is cut off after an epoch."""

    def run(params, *, folder, on_epoch):
        for epoch in range(first, epochs + 1):
            rows = history(epoch).assign(validation_loss=0.5)
            on_epoch(rows)
            pd.testing.assert_frame_equal(pd.read_csv(HISTORY), rows)
            if epoch == fail_after:
                raise RuntimeError("cut off")
        return rows

    return run


def test_history_is_there_after_each_epoch(params, store, monkeypatch):
    monkeypatch.setattr("sys.argv", ["finetune"])
    monkeypatch.setattr(finetune, "load_params", lambda: params)
    monkeypatch.setattr(finetune, "training_key", lambda params: "key")
    monkeypatch.setattr(finetune, "_gpus", lambda settings: [])
    monkeypatch.setattr(ClassifierDescription, "of", lambda folder: DESCRIPTION)
    monkeypatch.setattr(tracking, "log_classifier", lambda *given: None)
    monkeypatch.setattr(finetune, "run", train(4, fail_after=2))
    with pytest.raises(RuntimeError, match="cut off"):
        finetune.main()
    assert pd.read_csv(HISTORY)["epoch"].tolist() == [1, 2]
    HISTORY.unlink()  # as DVC does before it runs a stage
    monkeypatch.setattr(finetune, "run", train(4, first=3))
    finetune.main()
    assert pd.read_csv(HISTORY)["epoch"].tolist() == [1, 2, 3, 4]
