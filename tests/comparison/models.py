"""Writes the predictions of synthetic models whose right and wrong clips are chosen, as evaluate would."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.comparison.results import ModelResults, read_results
from pipeline.evaluation.predictions import predictions_frame, write_predictions

CLASSES = ("dance", "jump")
CLIPS = [(name, group, clip) for name in CLASSES for group in range(1, 5) for clip in range(1, 4)]  # 24 clips of 8 groups
NAMES = [f"{name}/{name}_g{group}_c{clip}.avi" for name, group, clip in CLIPS]
SURE, UNSURE = 0.8, 0.3  # probabilities of the actual class of clips that are right and wrong


def clip(name: str, group: int, number: int) -> str:
    return f"{name}/{name}_g{group}_c{number}.avi"


def write_model(
    folder: Path,
    wrong: Iterable[str] = (),
    *,
    classes: Iterable[str] = CLASSES,
    names: Iterable[str] = NAMES,
    groups: dict[str, str] | None = None,
    relabelled: dict[str, str] | None = None,
    validation: Iterable[str] = (),
) -> Path:
    """Writes predictions.csv of a model that has the clips `wrong` wrong; returns the folder.

    classes: in the order of the model's outputs. names: of the test clips. groups: in place of those in the names.
    relabelled: actual classes in place of those in the names. validation: clips of that split, all right.
    """
    classes, wrong, frames = list(classes), set(wrong), []
    for split, part in (("test", list(names)), ("validation", list(validation))):
        if not part:
            continue
        labels = np.array([classes.index((relabelled or {}).get(name, name.split("/")[0])) for name in part])
        own = np.array([UNSURE if name in wrong else SURE for name in part])
        probabilities = np.repeat(((1 - own) / (len(classes) - 1))[:, None], len(classes), axis=1)
        probabilities[np.arange(len(part)), labels] = own
        of_groups = [(groups or {}).get(name, name.split("/")[1].rsplit("_", 1)[0]) for name in part]
        frames.append(predictions_frame(part, of_groups, split, labels, probabilities, classes))
    write_predictions(folder / "predictions.csv", *frames)
    return folder


def make_model(folder: Path, wrong: Iterable[str] = (), **options) -> ModelResults:
    """The same, read again; its label is the folder's name."""
    return read_results(write_model(folder, wrong, **options), folder.name, f"folder {folder.name}")
