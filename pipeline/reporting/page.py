"""The page: the sections with their figures and tables as one self-contained HTML file.

Invariants: the page needs nothing but itself (figures inside, no script or font from elsewhere); every name from the data is
escaped; credentials inside addresses are left out.
"""

import base64
import struct
from pathlib import Path
from typing import NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.console import progress, without_credentials
from pipeline.files import write_text
from pipeline.params import Params
from pipeline.reporting import figures, parts, tables, wording  # noqa: F401  figures and tables register themselves
from pipeline.reporting.inputs import ReportInputs
from pipeline.reporting.style import STYLE, png

_PIXELS_PER_INCH = 96  # of a browser
_COLUMN = 800  # pixels; a wider figure spans the page


class Picture(NamedTuple):
    """A figure as the page shows it. content: PNG."""

    part: parts.FigurePart
    content: bytes
    on_page: bool

    @property
    def source(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.content).decode()

    @property
    def full_width(self) -> int:
        """Pixels, from the PNG header (bytes 16-19, big-endian)."""
        return struct.unpack(">I", self.content[16:20])[0]

    @property
    def width(self) -> int:
        """CSS pixels, at the size in inches that it was drawn for."""
        return round(self.full_width * _PIXELS_PER_INCH / STYLE["figure.dpi"])

    @property
    def wide(self) -> bool:
        return self.width > _COLUMN


class ShownTable(NamedTuple):
    """A table as the page shows it. rows: (text, value) of each cell. more: number of rows left out."""

    part: parts.TablePart
    columns: list[parts.Column]
    rows: list[list[tuple[str, object]]]
    more: int


class Section(NamedTuple):
    anchor: str
    title: str
    pictures: list[Picture]
    tables: list[ShownTable]


def draw_picture(part: parts.FigurePart, report: ReportInputs) -> Picture:
    figure = part.draw(report)
    return Picture(part, png(figure), on_page=bool(figure.axes))


def show_table(part: parts.TablePart, report: ReportInputs) -> ShownTable:
    frame = part.make(report)
    level = f"{100 * report.evaluate.confidence:g}%"
    columns = {name: column for name, column in part.columns.items() if name in frame}
    rows = frame[list(columns)].head(part.limit or len(frame)).itertuples(index=False, name=None)
    return ShownTable(
        part,
        [column._replace(title=column.title.format(confidence=level)) for column in columns.values()],
        [[(column.show(value), value) for column, value in zip(columns.values(), row, strict=True)] for row in rows],
        len(frame) - min(len(frame), part.limit or len(frame)),
    )


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


def page_templates(folder: Path) -> Environment:
    """The templates in `folder`: values are escaped, and one that was not given raises jinja2.UndefinedError."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(report: ReportInputs, params: Params, pictures: list[Picture]) -> str:
    """The HTML of page.html.j2."""
    templates = page_templates(Path(__file__).parent)
    templates.filters |= {"percent": wording.percent, "without_credentials": without_credentials}
    templates.globals |= {"count": wording.count, "interval": wording.interval}
    return templates.get_template("page.html.j2").render(
        report=report,
        params=params,
        sections=make_sections(report, pictures),
        certainty=wording.describe_certainty(report.metrics.test, params.evaluate.confidence, params.evaluate.bootstrap),
        warnings=wording.describe_leaks(report.leaks),
        configuration=dump_configuration(params),
        differences=len(tables.environment_differences(report)),
    )


def write_report(folder: Path, report: ReportInputs, params: Params) -> None:
    """Writes index.html, a PNG per figure and the CSV files into `folder`."""
    pictures = [draw_picture(part, report) for part in progress(parts.FIGURES, describe="report", unit="figure")]
    for picture in pictures:
        (folder / f"{picture.part.name}.png").write_bytes(picture.content)
    for name, make in parts.CSV_FILES.items():
        make(report).to_csv(folder / f"{name}.csv", index=False)
    write_text(folder / "index.html", render(report, params, pictures))
