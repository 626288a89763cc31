"""A registered function is all that a new figure, table or CSV file needs."""

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline.reporting import parts
from pipeline.reporting.inputs import ReportInputs, read_inputs
from pipeline.reporting.page import make_sections, show_table, write_report
from tests.reporting.results import some_params, write_results


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> ReportInputs:
    params = some_params()
    data, results = write_results(tmp_path_factory.mktemp("parts"), ["a", "b"], skill=2)
    return read_inputs(data, results, params.evaluate, params.report)


@pytest.fixture
def registry(monkeypatch) -> None:
    """Without the parts of the real report, which take seconds to draw."""
    monkeypatch.setattr(parts, "FIGURES", [])
    monkeypatch.setattr(parts, "TABLES", [])
    monkeypatch.setattr(parts, "CSV_FILES", {})


def _histogram(report: ReportInputs) -> Figure:
    figure = Figure((4, 3))
    figure.subplots().hist(report.test.probabilities.max(1))
    return figure


def _counts(report: ReportInputs) -> pd.DataFrame:
    return pd.DataFrame({"class": report.classes, "share of {confidence}": [0.25, None], "clips": [1200, 7], "length": [1.5, 2]})


def test_registered_functions_are_on_the_page_and_in_the_folder(tmp_path: Path, report, registry):
    parts.figure("calibration", alt="Histogram", heading="Confidences")(_histogram)
    parts.csv_file(parts.table("data", heading="Counts")(_counts))
    write_report(tmp_path, report, some_params())
    assert {file.name for file in tmp_path.iterdir()} == {"index.html", "_histogram.png", "_counts.csv"}
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'alt="Histogram"' in page and "Confidences</h3>" in page and "Counts</h3>" in page
    assert [page.index(f'<section id="{anchor}"') for anchor in ("calibration", "data")] and 'id="scores"' not in page
    assert 'href="#calibration"' in page and 'href="#scores"' not in page


def test_cells_are_formatted_by_type_or_format_and_missing_values_are_dashes(report, registry):
    parts.table("data", formats={"length": "{:.2f} s"})(_counts)
    shown = show_table(parts.TABLES[0], report)
    assert [column.title for column in shown.columns] == ["class", "share of 95%", "clips", "length"]
    assert [column.numeric for column in shown.columns] == [False, True, True, True]
    assert [[text for text, _ in row] for row in shown.rows] == [["a", "25.0%", "1,200", "1.50 s"], ["b", "–", "7", "2.00 s"]]


def test_rows_beyond_the_limit_are_counted(tmp_path, report, registry):
    parts.table("data", limit=1, rest="classes")(_counts)
    shown = show_table(parts.TABLES[0], report)
    assert (len(shown.rows), shown.more) == (1, 1)
    write_report(tmp_path, report, some_params())
    assert "and 1 more classes" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_tables_without_rows_and_figures_without_axes_are_left_out(report, registry):
    def nothing(report: ReportInputs) -> pd.DataFrame:
        return _counts(report).head(0)

    parts.table("data")(nothing)
    assert make_sections(report, []) == []
    parts.table("data", empty="No classes.")(nothing)
    (section,) = make_sections(report, [])
    assert [table.part.empty for table in section.tables] == ["No classes."]


def test_unknown_sections_are_refused():
    with pytest.raises(ValueError, match="section 'elsewhere': not one of scores, "):
        parts.figure("elsewhere", alt="")
    with pytest.raises(ValueError, match="section 'elsewhere'"):
        parts.table("elsewhere")
