"""The classifier's folder, the output of finetune: what it states before training, and how it is written."""

from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts import ClassifierDescription, Decision
from pipeline.console import without_credentials
from pipeline.files import atomic_folder
from pipeline.models.family import ModelSettings
from pipeline.settings import Finetune, Frames


def describe_classifier(
    model: ModelSettings, finetune: Finetune, frames: Frames, views: int, classes: list[str]
) -> ClassifierDescription:
    """What classifier.json states before training. Credentials in the URL of the weights are left out: the file is shared."""
    return ClassifierDescription(
        classes=classes,
        family=model.family,
        model=model.id,
        settings=model.model_dump() | {"weights": without_credentials(model.weights)},
        trainable=finetune.trainable,
        fps=frames.fps,
        size=frames.size,
        count=frames.count,
        views=views,
        sampling=frames.sampling,
        short_clips=model.short_clips,
        activation=model.activation,
    )


def write_classifier(
    out: Path, description: ClassifierDescription, best_epoch: int, decision: Decision, save: Callable[[Path], int]
) -> None:
    """Writes the classifier's folder atomically. save: writes the family's files and returns the number of parameters."""
    with atomic_folder(out) as part:
        results = {"best_epoch": best_epoch, "parameters": save(part), "decision": decision}
        description.model_copy(update=results).write(part / "classifier.json")
