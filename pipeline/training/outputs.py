"""Writes the classifier's folder, the output of finetune."""

from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts import ClassifierDescription, Decision
from pipeline.files import atomic_folder


def write_classifier(
    out: Path, description: ClassifierDescription, best_epoch: int, decision: Decision, save: Callable[[Path], int]
) -> None:
    """Writes the classifier's folder atomically. save: writes the family's files and returns the number of parameters."""
    with atomic_folder(out) as part:
        results = {"best_epoch": best_epoch, "parameters": save(part), "decision": decision}
        description.model_copy(update=results).write(part / "classifier.json")
