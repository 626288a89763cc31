"""What a report consists of: sections, and the figures, tables and CSV files that are registered in them.

A new figure is one function in `figures`, a new table or CSV file one in `tables`; the stage and the page loop over what is here:

    @figure("calibration", alt="Histogram of the largest probabilities")
    def confidences(report: ReportInputs) -> Figure: ...

    @table("data", heading="Clips per class")
    def clips_per_class(report: ReportInputs) -> pd.DataFrame: ...

The function's name names its file. Within a section figures come before tables, each in the order of definition.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from pipeline.reporting.inputs import ReportInputs
from pipeline.reporting.style import styled

# Anchor and title, in the order of the page. One without figures and tables is left out.
SECTIONS = {
    "scores": "Scores",
    "baselines": "Baselines",
    "confusion": "Confusion matrix",
    "classes": "Per-class scores",
    "mistakes": "Most confident mistakes",
    "labels": "Labels that may be wrong",
    "calibration": "Calibration",
    "unknown": "Unknown",
    "training": "Training",
    "data": "Data",
    "export": "Exported files",
    "run": "Run",
}

DrawFigure = Callable[[ReportInputs], Figure]
MakeTable = Callable[[ReportInputs], pd.DataFrame]


class FigurePart(NamedTuple):
    """A figure of results/report, and if `on_page`, of the page. alt: what it shows, its caption. heading: above it."""

    name: str
    section: str
    draw: DrawFigure
    alt: str
    heading: str
    on_page: bool


class TablePart(NamedTuple):
    """A table of the page.

    Attributes:
      formats: format strings by column. Without one, integers have thousands separators and other numbers are percentages.
        Columns of numbers and columns with a format are aligned on the right. A name may hold {confidence}, of the intervals.
      heading: above it.
      empty: sentence shown instead of a table without rows; without one such a table is left out.
      folded: whether the reader has to open a table of more than ten rows.
      limit: rows that are shown; `rest` ends the line that counts the others.
      wide: whether it spans the page; else it is next to a figure where there is room.
      sortable: by a click on a column's title.
      cards: start of the anchors of the cards below that show the clips of its rows, in the same order; empty without cards.
    """

    name: str
    section: str
    make: MakeTable
    formats: dict[str, str]
    heading: str = ""
    empty: str = ""
    folded: bool = False
    limit: int | None = None
    rest: str = ""
    wide: bool = True
    sortable: bool = False
    cards: str = ""


FIGURES: list[FigurePart] = []
TABLES: list[TablePart] = []
CSV_FILES: dict[str, MakeTable] = {}


def figure(section: str, *, alt: str, heading: str = "", on_page: bool = True) -> Callable[[DrawFigure], DrawFigure]:
    """Registers a function that draws a figure. One without axes holds a message, and is left off the page."""
    _check_section(section)

    def register(draw: DrawFigure) -> DrawFigure:
        draw = styled(draw, lambda report: report.classes)
        FIGURES.append(FigurePart(draw.__name__, section, draw, alt, heading, on_page))
        return draw

    return register


def table(section: str, *, formats: dict[str, str] | None = None, **options: Any) -> Callable[[MakeTable], MakeTable]:
    """Registers a function that makes a table of the page. options: see `TablePart`."""
    _check_section(section)

    def register(make: MakeTable) -> MakeTable:
        TABLES.append(TablePart(make.__name__, section, make, formats or {}, **options))
        return make

    return register


def csv_file(make: MakeTable) -> MakeTable:
    """Registers a function that makes a CSV file of results/report."""
    CSV_FILES[make.__name__] = make
    return make


def _check_section(section: str) -> None:
    if section not in SECTIONS:
        raise ValueError(f"section {section!r}: not one of {', '.join(SECTIONS)}")
