"""Accuracy against cost: what each trial buys, and the front that no other trial beats."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from pipeline.reporting.fonts import shorten
from pipeline.reporting.style import BLUE, GREY, VERMILION, styled
from pipeline.sweeping.table import pareto, short_value

AXES = (("flops", 1e9, "GFLOPs a clip"), ("latency_ms", 1, "milliseconds a clip, one CPU thread"))
LABELLED = 30  # trials up to which each is named


@styled
def pareto_figure(table: pd.DataFrame, swept: list[str], confidence: float) -> Figure:
    """Validation top-1 with its interval against operations and against latency; a line joins the front of each."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    finished = table[table["status"] == "finished"]
    for axis, (column, scale, label) in zip(axes, AXES, strict=True):
        known = finished[finished[column].notna()].sort_values([column, "validation_top1"])
        x, y = known[column].astype(float) / scale, known["validation_top1"].astype(float)
        low, high = known["validation_top1_low"].astype(float), known["validation_top1_high"].astype(float)
        axis.errorbar(x, y, [(y - low).clip(0).fillna(0), (high - y).clip(0).fillna(0)], fmt="none", ecolor=GREY, alpha=0.5)
        front = pd.Series(pareto(y, x), index=known.index, dtype=bool)
        axis.scatter(x[~front], y[~front], color=BLUE, zorder=3)
        axis.plot(x[front], y[front], color=VERMILION, marker="o", drawstyle="steps-post", zorder=4, label="front")
        if len(known) <= LABELLED:
            for point, same in known.groupby([x, y], sort=True):
                name = shorten(", ".join(short_value(str(same[key].iloc[0])) for key in swept) or same["trial"].iloc[0])
                name += f" and {len(same) - 1} more" if len(same) > 1 else ""
                colour = VERMILION if front[same.index].any() else GREY
                axis.annotate(name, point, (5, 5), textcoords="offset points", fontsize=9, color=colour)
        if len(x) and x.max() > 3 * x.min() > 0:
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(label)
        axis.grid(True)
        axis.margins(x=0.12)
    axes[0].set_ylabel(f"validation top-1 (bars: {100 * confidence:g}% intervals)")
    axes[0].set_ylim(top=min(axes[0].get_ylim()[1], 1.05))
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    if len(finished):
        axes[0].legend(loc="lower right")
    return figure
