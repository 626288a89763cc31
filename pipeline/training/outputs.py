"""The classifier's folder as finetune leaves it, however it was trained."""

from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts import ClassifierDescription
from pipeline.files import atomic_folder


def write_classifier(out: Path, description: ClassifierDescription, best_epoch: int, save: Callable[[Path], int]) -> None:
    """Writes the classifier's folder, whole. save: writes a family's files into it, and returns the number of parameters."""
    with atomic_folder(out) as part:
        found = {"best_epoch": best_epoch, "parameters": save(part)}
        description.model_copy(update=found).write(part / "classifier.json")
