"""Figures: their content, legibility at any number of classes, and that equal input gives equal bytes."""

import io
import itertools
import warnings
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from pipeline.evaluation.metrics import calibration_bins
from pipeline.reporting import figures
from pipeline.reporting.style import png
from tests.reporting.drawing import draw_confusion, draw_learning_curves, draw_pairs


def _matrix(count: int) -> np.ndarray:
    matrix = np.random.default_rng(0).poisson(0.1, (count, count))
    np.fill_diagonal(matrix, 30)
    return matrix


def _names(count: int) -> list[str]:
    return [f"Class{i:03d}{'WithName' * (i % 3)}" for i in range(count)]


def _history(epochs: int = 6, **columns) -> pd.DataFrame:
    steps = np.arange(1, epochs + 1)
    values = {
        "epoch": steps,
        "loss": 2 / steps,
        "accuracy": 1 - 0.8 / steps,
        "validation_loss": 2.1 / steps,
        "validation_accuracy": 1 - 0.9 / steps,
        "learning_rate": 0.001 / steps,
    }
    return pd.DataFrame(values | columns)


def _texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_cells_show_counts_or_shares_and_empty_cells_nothing():
    matrix = np.array([[3, 1, 0], [0, 0, 0], [0, 2, 298]])
    counts, *_ = draw_confusion(matrix, ["a", "b", "c"], normalised=False).axes
    shares, *_ = draw_confusion(matrix, ["a", "b", "c"], normalised=True).axes
    assert _texts(counts) == ["3", "1", "2", "298"]
    assert _texts(shares) == ["75%", "25%", "<1%", "99%"]
    assert [text.get_position() for text in counts.texts] == [(0, 0), (1, 0), (1, 2), (2, 2)]  # column, row
    assert (counts.get_xlabel(), counts.get_ylabel()) == ("predicted", "actual")


@pytest.mark.parametrize("count", [1, 2, 6, 30, 31, pytest.param(101, marks=pytest.mark.slow)])
def test_every_class_label_of_a_confusion_matrix_is_legible(count):
    """Labels lie inside the figure and do not overlap each other, drawn at their real size."""
    figure = draw_confusion(_matrix(count), _names(count), normalised=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png(figure)
    axes = figure.axes[0]
    assert bool(axes.texts) == (count <= figures.ANNOTATED_CLASSES)
    columns, rows = axes.xaxis.get_major_ticks(), axes.yaxis.get_major_ticks()
    assert [tick.label1.get_text() for tick in rows] == [tick.label1.get_text() for tick in columns] == _names(count)
    canvas = figure.bbox
    across, down = ([tick.label1.get_window_extent() for tick in ticks] for ticks in (columns, rows))
    far = [tick.label2.get_window_extent() for tick in (*columns, *rows) if tick.label2.get_visible()]
    assert len(far) == (0 if count <= figures.ANNOTATED_CLASSES else 2 * count)
    titles = [axes.xaxis.label.get_window_extent(), axes.yaxis.label.get_window_extent()]
    for box in (*across, *down, *far, *titles):
        assert canvas.x0 <= box.x0 and box.x1 <= canvas.x1 and canvas.y0 <= box.y0 and box.y1 <= canvas.y1
    assert all(one.x1 <= other.x0 for one, other in itertools.pairwise(across))
    assert all(one.y0 >= other.y1 for one, other in itertools.pairwise(down))
    assert min(box.height for box in down) >= 9  # pixels


def test_single_mistake_is_visible_among_empty_cells():
    matrix = np.diag(np.full(40, 60))
    matrix[5, 30] = 1
    figure = draw_confusion(matrix, _names(40), normalised=False)
    pixels = imread(io.BytesIO(png(figure)))
    inside = figure.axes[0].transData
    column, row = inside.transform((30, 5))
    mistake = pixels[pixels.shape[0] - 1 - int(row), int(column), :3]
    column, row = inside.transform((29, 5))
    empty = pixels[pixels.shape[0] - 1 - int(row), int(column), :3]
    assert empty.tolist() == [1, 1, 1]
    assert np.abs(mistake - empty).max() > 0.4


def test_equal_input_gives_equal_bytes_under_any_matplotlibrc():
    def draw() -> bytes:
        return png(draw_confusion(_matrix(4), _names(4), normalised=True))

    plain = draw()
    with mpl.rc_context({"font.size": 30, "figure.facecolor": "red", "savefig.dpi": 10}):
        assert draw() == plain
    assert b"Software" not in plain
    assert plain.startswith(b"\x89PNG")


def test_class_names_are_shown_as_they_are():
    name = r"$\frac{broken$"
    figure = draw_confusion(np.eye(2, dtype=int), [name, "b"], normalised=False)
    png(figure)
    assert figure.axes[0].get_yticklabels()[0].get_text() == name


def test_learning_curves_mark_the_best_epoch():
    figure = draw_learning_curves(_history(), 4)
    loss, accuracy, rate = figure.axes
    assert [line.get_label() for line in loss.lines] == ["train", "validation", "kept: epoch 4"]
    assert accuracy.lines[1].get_ydata().tolist() == _history()["validation_accuracy"].tolist()
    assert rate.lines[0].get_ydata().tolist() == _history()["learning_rate"].tolist()
    assert all(axes.lines[-1].get_xdata() == [4, 4] for axes in figure.axes)


def test_learning_curves_of_one_epoch_without_validation():
    figure = draw_learning_curves(_history(1, validation_loss=np.nan, validation_accuracy=np.nan), 1)
    assert [line.get_label() for line in figure.axes[0].lines] == ["train", "kept: epoch 1"]
    assert png(figure)


def test_loss_spanning_decades_has_a_logarithmic_axis():
    assert draw_learning_curves(_history(loss=np.geomspace(5, 0.001, 6)), 1).axes[0].get_yscale() == "log"
    assert draw_learning_curves(_history(), 1).axes[0].get_yscale() == "linear"


def test_confused_pairs_are_bars_in_descending_order():
    axes = draw_pairs(np.array([[5, 3, 0], [0, 5, 1], [0, 0, 5]]), ["a", "b", "c"]).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [3, 1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a  →  b", "b  →  c"]
    assert axes.yaxis_inverted()
    assert _texts(axes) == [" 3  (38%)", " 1  (17%)"]


def test_confused_pairs_without_mistakes_shows_a_message():
    figure = draw_pairs(np.eye(2, dtype=int), ["a", "b"])
    assert "No test clip was mistaken" in figure.texts[0].get_text()
    assert png(figure)


def test_reliability_shows_accuracy_and_clips_of_each_bin():
    probabilities, labels = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), np.array([0, 1, 1])
    bins = calibration_bins(probabilities, labels, 10)
    report = SimpleNamespace(
        classes=[],
        test=SimpleNamespace(probabilities=probabilities, labels=labels),
        evaluate=SimpleNamespace(bins=10),
        metrics=SimpleNamespace(test=SimpleNamespace(ece=0.123)),
    )
    upper, lower = figures.reliability(report).axes
    assert upper.get_title() == "expected calibration error 12.3%"
    assert [bar.get_height() for bar in lower.patches] == bins["clips"].tolist()
    assert upper.lines[1].get_xdata().tolist() == pytest.approx([0.7, 0.8, 0.9])
    assert upper.lines[1].get_ydata().tolist() == pytest.approx([1, 0, 1])


def test_the_curves_of_a_probe_are_over_its_penalties():
    history = _history(4, learning_rate=np.nan).assign(penalty=[1.0, 0.1, 0.01, 0.001])
    figure = draw_learning_curves(history, 3)
    loss, accuracy = figure.axes
    assert loss.lines[0].get_xdata().tolist() == [1.0, 0.1, 0.01, 0.001] and loss.get_xlabel() == "weight of the penalty"
    assert loss.lines[-1].get_label() == "kept: penalty 0.01" and accuracy.lines[-1].get_xdata() == [0.01, 0.01]
    assert loss.get_xlim()[0] > loss.get_xlim()[1], "from the strongest penalty to the weakest"
