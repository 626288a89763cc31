"""The figure: accuracies with their intervals, and differences of pairs with theirs against zero."""

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from pipeline.comparison.compare import Comparison
from pipeline.comparison.wording import signed
from pipeline.reporting.fonts import shorten
from pipeline.reporting.style import BLUE, GREY, VERMILION, styled


@styled
def draw_intervals(comparison: Comparison) -> Figure:
    """Models on the left, pairs on the right; hollow marks are differences that are undecided."""
    models, pairs = comparison.models, comparison.pairs
    rows = max(len(models), len(pairs))
    figure = Figure((12, 1.5 + 0.5 * rows), layout="constrained")
    left, right = figure.subplots(1, 2)
    for row, scores in enumerate(comparison.scores):
        _interval(left, row, scores.accuracy, BLUE, filled=True)
    left.set_yticks(range(len(models)), [shorten(model.label) for model in models])
    left.xaxis.set_major_formatter(PercentFormatter(1))
    left.set_title("accuracy")
    for row, pair in enumerate(pairs):
        decided = pair.verdict in ("better", "worse")
        _interval(right, row, pair.accuracy, VERMILION if decided else GREY, filled=decided)
    names = [f"{shorten(models[pair.second].label, 20)} − {shorten(models[pair.first].label, 20)}" for pair in pairs]
    right.axvline(0, color="black", linewidth=1)
    right.set_yticks(range(len(pairs)), names)
    right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: signed(100 * value, 1).removesuffix(".0")))
    right.set_title("difference in accuracy, points")
    for axes, count in ((left, len(models)), (right, len(pairs))):
        axes.set_ylim(count - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.margins(x=0.08)
    return figure


def _interval(axes, row: int, of, colour: str, *, filled: bool) -> None:
    if of.low is not None:
        axes.plot([of.low, of.high], [row, row], color=colour, linewidth=2.5, solid_capstyle="butt")
    axes.plot(of.value, row, "o", color=colour, markersize=8, markerfacecolor=colour if filled else "white", markeredgewidth=2)
