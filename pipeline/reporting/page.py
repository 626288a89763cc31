"""The page: the sections with their figures and tables as one self-contained HTML file.

Invariants: the page refers to no other file or host; every name from the data is escaped; credentials in addresses are left out.
"""

import base64
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import yaml

from pipeline.console import progress, without_credentials
from pipeline.explanation.selection import MISTAKES_PER_CELL, RIGHT_PER_CELL
from pipeline.files import write_text
from pipeline.params import Params
from pipeline.reporting import figures, parts, tables, wording  # noqa: F401  figures and tables register themselves
from pipeline.reporting.inputs import ReportInputs
from pipeline.reporting.strips import BAR_HEIGHT, CHART, show_classes, show_mistakes, show_suspects
from pipeline.reporting.style import png
from pipeline.reporting.templates import page_templates

_PIXELS_PER_INCH = 96  # of a browser


class Picture(NamedTuple):
    """A figure as the page shows it. content: PNG. width: CSS pixels. full_width: pixels of the PNG."""

    part: parts.FigurePart
    content: bytes
    on_page: bool
    width: int
    full_width: int

    @property
    def source(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.content).decode()


class Column(NamedTuple):
    """A column as the page shows it. cells: text and value of each row."""

    title: str
    numeric: bool
    cells: list[tuple[str, object]]


class ShownTable(NamedTuple):
    """A table as the page shows it. rows: of cells. more: number of rows left out."""

    part: parts.TablePart
    columns: list[Column]
    rows: list[tuple[tuple[str, object], ...]]
    more: int


class Section(NamedTuple):
    anchor: str
    title: str
    pictures: list[Picture]
    tables: list[ShownTable]


def draw_picture(part: parts.FigurePart, report: ReportInputs) -> Picture:
    figure = part.draw(report)
    inches = figure.get_figwidth()
    return Picture(
        part, png(figure), part.on_page and bool(figure.axes), round(inches * _PIXELS_PER_INCH), round(inches * figure.dpi)
    )


def show_column(name: str, values: pd.Series, formats: dict[str, str], confidence: float) -> Column:
    numeric = pd.api.types.is_numeric_dtype(values)
    default = "{}" if not numeric else "{:,}" if pd.api.types.is_integer_dtype(values) else "{:.1%}"
    form = formats.get(name, default)
    cells = [("–" if pd.isna(value) else form.format(value), value) for value in values]
    return Column(name.replace("{confidence}", f"{100 * confidence:g}%"), numeric or name in formats, cells)


def show_table(part: parts.TablePart, report: ReportInputs) -> ShownTable:
    frame = part.make(report)
    shown = frame.head(part.limit) if part.limit else frame
    columns = [show_column(name, values, part.formats, report.evaluate.confidence) for name, values in shown.items()]
    return ShownTable(part, columns, list(zip(*(column.cells for column in columns), strict=True)), len(frame) - len(shown))


def make_sections(report: ReportInputs, pictures: list[Picture]) -> list[Section]:
    """Sorts figures and tables into sections; leaves out what has nothing to show."""
    shown = [table for table in (show_table(part, report) for part in parts.TABLES) if table.rows or table.part.empty]
    sections = [
        Section(
            anchor,
            title,
            [picture for picture in pictures if picture.part.section == anchor and picture.on_page],
            [table for table in shown if table.part.section == anchor],
        )
        for anchor, title in parts.SECTIONS.items()
    ]
    return [section for section in sections if section.pictures or section.tables]


def dump_configuration(params: Params) -> str:
    """params.yaml as YAML text, without credentials."""
    content = wording.remove_credentials(params.model_dump(mode="json"))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def render(report: ReportInputs, params: Params, pictures: list[Picture]) -> str:
    """The HTML of page.html.j2."""
    templates = page_templates(Path(__file__).parent)
    filters = {"percent": wording.percent, "describe_gain": wording.describe_gain, "without_credentials": without_credentials}
    templates.filters |= filters
    templates.globals |= {"count": wording.count, "interval": wording.interval}
    classes = show_classes(report.test, report.confusion_matrix, report.clips)
    mistakes, suspects = show_mistakes(report.test, report.clips), show_suspects(report.suspects, report.clips)
    return templates.get_template("page.html.j2").render(
        report=report,
        params=params,
        sections=make_sections(report, pictures),
        certainty=wording.describe_certainty(report.metrics.test, params.evaluate.confidence, params.evaluate.bootstrap),
        about_baselines=wording.describe_baselines(report.metrics.baselines, params.frames.count),
        warnings=wording.describe_leaks(report.leaks),
        configuration=dump_configuration(params),
        differences=len(tables.environment_differences(report)),
        classes_shown=classes,
        cell_strips=sum(len(cell.strips) for row in classes for cell in row.cells if cell is not None),
        mistakes_shown=mistakes,
        suspects_shown=suspects,
        cards={"mistake": len(mistakes), "suspect": len(suspects)},
        per_cell={"wrong": MISTAKES_PER_CELL, "right": RIGHT_PER_CELL},
        bar_height=BAR_HEIGHT,
        chart=CHART,
    )


def write_report(folder: Path, report: ReportInputs, params: Params) -> None:
    """Writes index.html, a PNG per figure and the CSV files into `folder`."""
    pictures = [draw_picture(part, report) for part in progress(parts.FIGURES, describe="report", unit="figure")]
    for picture in pictures:
        (folder / f"{picture.part.name}.png").write_bytes(picture.content)
    for name, make in parts.CSV_FILES.items():
        make(report).to_csv(folder / f"{name}.csv", index=False)
    write_text(folder / "index.html", render(report, params, pictures))
