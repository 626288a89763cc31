"""Draws single figures of the report from the data that they show."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.evaluation.metrics import most_confused_pairs
from pipeline.reporting import figures


def draw_confusion(matrix: np.ndarray, classes: list[str], *, normalised: bool) -> Figure:
    draw = figures.confusion_normalised if normalised else figures.confusion
    return draw(SimpleNamespace(confusion_matrix=matrix, classes=classes))


def draw_learning_curves(history: pd.DataFrame, best: int) -> Figure:
    return figures.learning_curves(SimpleNamespace(history=history, best_epoch=best, is_probe="penalty" in history, classes=[]))


def draw_pairs(matrix: np.ndarray, classes: list[str], n: int = 9) -> Figure:
    return figures.confused_pairs(SimpleNamespace(confused_pairs=most_confused_pairs(matrix, classes, n), classes=classes))
