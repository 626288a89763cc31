"""The figures of a report. A new one is a function here, registered by `parts.figure`, which also applies the style."""

from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from pipeline.evaluation.metrics import calibration_bins
from pipeline.evaluation.selective import accuracy_by_coverage, accuracy_intervals
from pipeline.reporting.fonts import keep_left_to_right, shorten
from pipeline.reporting.inputs import ReportInputs
from pipeline.reporting.parts import figure
from pipeline.reporting.style import BLUE, GREY, VERMILION

BAND_POINTS = 200  # thresholds at which the band around a curve is computed
ANNOTATED_CLASSES = 30  # up to this many, each cell of a confusion matrix has room for its number


def _sequential() -> LinearSegmentedColormap:
    """Viridis from pale to dark, without its palest part, so that a single clip contrasts with an empty, white cell."""
    colours = matplotlib.colormaps["viridis_r"](np.linspace(0.06, 1, 256))
    return LinearSegmentedColormap.from_list("confusion", colours).with_extremes(bad="white")


def _share(value: float) -> str:
    return f"{100 * value:.0f}%" if value >= 0.01 else "<1%"


def _label_cells(axes: Axes, matrix: np.ndarray, texts: Callable[[float], str], size: float, colours) -> None:
    for (row, column), value in np.ndenumerate(matrix):
        if value > 0:
            red, green, blue, _ = colours(value)
            dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5
            ink = "white" if dark else "black"
            axes.text(column, row, texts(value), ha="center", va="center", color=ink, fontsize=size)


@figure("confusion", alt="Confusion matrix of the test clips, each row as shares of its class")
def confusion_normalised(report: ReportInputs) -> Figure:
    return _draw_confusion(report.confusion_matrix, report.classes, normalised=True)


@figure("confusion", alt="Confusion matrix of the test clips, counts", on_page=False)  # the page has a table of them
def confusion(report: ReportInputs) -> Figure:
    return _draw_confusion(report.confusion_matrix, report.classes, normalised=False)


def _draw_confusion(matrix: np.ndarray, classes: Sequence[str], *, normalised: bool) -> Figure:
    """Draws a confusion matrix, int (C, C), rows actual: counts, or each row as shares of its class (empty rows stay empty).

    Cells have numbers up to ANNOTATED_CLASSES; beyond, the figure grows so that each class name can be read at full size.
    """
    count = len(classes)
    names = [shorten(name) for name in classes]
    annotated = count <= ANNOTATED_CLASSES
    font = 11 if count <= 12 else 9
    cell = min(0.62, max(6.5 / count, 0.46)) if annotated else 0.19
    side = max(count * cell, 2.2)
    # Laid out here, in inches: Matplotlib's layout engines measure all labels several times, which takes seconds for 404 of them.
    label = max(TextPath((0, 0), name, size=font).get_extents().width for name in names) / 72 + 0.12
    upright = label <= side / count
    title = (font + 2) * 2 / 72
    left, below = title + label, title + (font * 1.8 / 72 if upright else label)
    above, right = (0.1, 0.15) if annotated else (label, label + 0.15)  # a large matrix has its labels on all four sides
    width, height = left + side + right + 1.15, above + side + below
    fig = Figure((width, height))
    axes = fig.add_axes((left / width, below / height, side / width, side / height))
    bar_side = min(0.85 * side, 6)
    bar_axes = fig.add_axes(
        ((left + side + right) / width, (below + (side - bar_side) / 2) / height, 0.18 / width, bar_side / height)
    )

    totals = matrix.sum(1, keepdims=True)
    values = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0) if normalised else matrix.astype(float)
    colours = _sequential()
    # The square root keeps single mistakes visible next to a full diagonal.
    norm = PowerNorm(0.5, vmin=0, vmax=1 if normalised else max(values.max(), 1))
    image = axes.imshow(np.ma.masked_equal(values, 0), cmap=colours, norm=norm, interpolation="nearest")
    axes.set_xticks(range(count), names, fontsize=font, rotation=0 if upright else 90)
    axes.set_yticks(range(count), names, fontsize=font)
    axes.tick_params(length=0, labeltop=not annotated, labelright=not annotated)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", linewidth=1 if annotated else 0.4)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted", fontsize=font + 2)
    axes.set_ylabel("actual", fontsize=font + 2)
    bar = fig.colorbar(image, cax=bar_axes)
    bar.outline.set_visible(False)
    bar.set_label("share of the actual class" if normalised else "clips")
    if normalised:
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    else:
        bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    if annotated:
        texts = _share if normalised else "{:.0f}".format
        _label_cells(axes, values, texts, font if count <= 12 else 8, lambda value: colours(norm(value)))
    return fig


@figure(
    "training", alt="Loss and accuracy over the epochs, or over the penalties of a probe; the dotted line marks what was kept"
)
def learning_curves(report: ReportInputs) -> Figure:
    history, best = report.history, report.best_epoch
    probe = report.is_probe
    fig = Figure((9 if probe else 13, 4.1), layout="constrained")
    panels = fig.subplots(1, 2) if probe else fig.subplots(1, 3, width_ratios=(1, 1, 0.8))
    epochs = history["penalty" if probe else "epoch"].to_numpy()
    kept = history.loc[history["epoch"] == best, "penalty" if probe else "epoch"].iloc[0]
    marker = "o" if len(epochs) <= 40 else None
    for axes, name in zip(panels, ("loss", "accuracy"), strict=False):
        axes.plot(epochs, history[name], color=BLUE, marker=marker, markersize=4, label="train")
        held_out = history[f"validation_{name}"]
        if held_out.notna().any():
            axes.plot(epochs, held_out, color=VERMILION, linestyle="--", marker=marker, markersize=4, label="validation")
        axes.set_title(name)
    finite = history[["loss", "validation_loss"]].to_numpy(float)
    finite = finite[np.isfinite(finite)]
    if finite.size and finite.min() > 0 and finite.max() / finite.min() > 50:
        panels[0].set_yscale("log")
        panels[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panels[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panels[1].set_ylim(-0.02, 1.02)
    if not probe:
        panels[2].plot(epochs, history["learning_rate"], color=GREY, marker=marker, markersize=4)
        panels[2].set_title("learning rate")
        panels[2].set_ylim(bottom=-0.02 * history["learning_rate"].max())
        panels[2].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    for axes in panels:
        label = f"kept: penalty {kept:.1g}" if probe else f"kept: epoch {kept}"
        axes.axvline(kept, color="black", linewidth=1, linestyle=":", label=label)
        axes.set_xlabel("weight of the penalty" if probe else "epoch")
        axes.grid(True)
        axes.set_axisbelow(True)
        if probe:
            axes.set_xscale("log")
            axes.invert_xaxis()
        else:
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    handles, labels = panels[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig


@figure("confusion", heading="Most confused pairs", alt="The most confused pairs of classes")
def confused_pairs(report: ReportInputs) -> Figure:
    pairs = report.confused_pairs
    if pairs.empty:
        fig = Figure((9, 1.2))
        fig.text(0.5, 0.5, "No test clip was mistaken for another class.", ha="center", va="center", fontsize=13)
        return fig
    fig = Figure((7.6, 1.0 + 0.32 * len(pairs)), layout="constrained")
    axes = fig.subplots()
    positions = np.arange(len(pairs))
    axes.barh(positions, pairs["clips"], color=BLUE, height=0.7)
    ends = [(keep_left_to_right(shorten(row.actual)), keep_left_to_right(shorten(row.predicted))) for row in pairs.itertuples()]
    names = [f"{actual}  →  {predicted}" for actual, predicted in ends]
    axes.set_yticks(positions, names)
    axes.invert_yaxis()
    for position, row in enumerate(pairs.itertuples()):
        axes.text(row.clips, position, f" {row.clips}  ({row.share:.0%})", va="center", fontsize=10)
    axes.set_xlim(0, pairs["clips"].max() * 1.25)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("clips (share of the actual class)")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return fig


@figure("calibration", alt="Accuracy against confidence on the test clips")
def reliability(report: ReportInputs) -> Figure:
    """A reliability diagram (Guo et al. 2017) above the number of clips in each bin."""
    bins = calibration_bins(report.test.probabilities, report.test.labels, report.evaluate.bins)
    fig = Figure((3.3, 4.2), layout="constrained")
    upper, lower = fig.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    filled = bins[bins["clips"] > 0]
    width = bins["high"] - bins["low"]
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="perfectly calibrated")
    upper.bar(
        bins["low"], bins["accuracy"].fillna(0), width, align="edge", color=BLUE, alpha=0.35, edgecolor=BLUE, label="accuracy"
    )
    upper.vlines(filled["confidence"], filled["accuracy"], filled["confidence"], color=VERMILION, linewidth=2.5, label="gap")
    upper.plot(filled["confidence"], filled["accuracy"], "o", color=BLUE, markersize=5)
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    upper.set_title(f"expected calibration error {report.metrics.test.ece:.1%}", fontsize=10)
    fig.legend(loc="outside lower center", ncols=2, fontsize=9)
    lower.bar(bins["low"], bins["clips"], width, align="edge", color=GREY, edgecolor="white")
    lower.set(ylabel="clips", xlabel="confidence (largest probability)")
    lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    for axes in (upper, lower):
        axes.tick_params(labelsize=9)
        axes.grid(True)
        axes.set_axisbelow(True)
    for axis in (upper.yaxis, lower.xaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return fig


@figure("unknown", alt="Accuracy of the test clips that get a class against the share that does, the most confident first")
def accuracy_against_coverage(report: ReportInputs) -> Figure:
    """The risk-coverage curve (Geifman & El-Yaniv 2017) as accuracy, with the interval at each threshold and the chosen one."""
    test, scores = report.test, report.metrics.test
    curve = accuracy_by_coverage(report.answers, test.labels, report.background)
    curve = curve[curve["score"] != curve["score"].shift(-1)]  # clips of equal confidence get a class together
    shown = curve.iloc[np.unique(np.linspace(0, len(curve) - 1, BAND_POINTS).round().astype(int))]
    band = accuracy_intervals(
        report.answers, test.labels, test.groups, shown["score"].to_numpy(), report.evaluate, 0, report.background
    )
    fig = Figure((6.4, 5.2), layout="constrained")
    axes = fig.subplots()
    if band[0][0] is not None:
        low, high = np.array(band, float).T
        level = f"{100 * report.evaluate.confidence:g}% interval"
        axes.fill_between(shown["coverage"], low, high, step="pre", color=BLUE, alpha=0.15, linewidth=0, label=level)
    axes.step(curve["coverage"], curve["accuracy"], where="pre", color=BLUE, linewidth=2, label="test clips")
    if scores.accuracy_when_known is not None:
        chosen = f"chosen threshold {report.decision.threshold:.3g}: {_share(scores.coverage)} get a class"
        axes.axvline(scores.coverage, color=VERMILION, linewidth=1, linestyle=":")
        axes.plot(scores.coverage, scores.accuracy_when_known, "o", color=VERMILION, markersize=8, label=chosen)
    lowest = min(curve["accuracy"].min(), *(ends[0] for ends in band if ends[0] is not None), 0.95)
    axes.set(xlim=(0, 1.01), ylim=(lowest - 0.02, 1 + 0.02 * (1 - lowest) + 0.002))
    axes.set(xlabel="share of the clips that get a class", ylabel="share of these that is right")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(True)
    axes.set_axisbelow(True)
    fig.legend(loc="outside lower center", ncols=2)
    return fig
