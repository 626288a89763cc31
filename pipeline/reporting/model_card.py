"""The model card: what a classifier is, how well it does, what it must not be used for, as Markdown with a header for hubs.

Mitchell et al. 2019, "Model Cards for Model Reporting". Invariant: everything in it follows from the inputs of the report.
"""

from pathlib import Path

from pipeline.console import without_credentials
from pipeline.params import Params
from pipeline.reporting import markdown, page, parts, tables, wording
from pipeline.reporting.inputs import ReportInputs
from pipeline.reporting.templates import text_templates
from pipeline.tracking.environment import shown


def as_markdown(table: page.ShownTable) -> str:
    """A table of the report in Markdown."""
    rows = [[text for text, _ in row] for row in table.rows]
    columns = table.columns
    return "\n".join(markdown.table([column.title for column in columns], [column.numeric for column in columns], rows))


def model_card(report: ReportInputs, params: Params) -> str:
    """The Markdown of a model card."""
    templates = text_templates(Path(__file__).parent)
    templates.filters |= {
        "cell": markdown.escape,
        "markdown": as_markdown,
        "percent": wording.percent,
        "without_credentials": without_credentials,
    }
    templates.globals |= {"count": wording.count, "few_groups": wording.FEW_GROUPS}
    made_with = shown(report.run.environment or report.environment)
    by_name = {part.name: part for part in parts.TABLES}
    return templates.get_template("model_card.md.j2").render(
        report=report,
        params=params,
        scores=page.show_table(by_name["scores"], report),
        exported=page.show_table(by_name["exported_files"], report),
        classes=tables.classes(report),
        splits=tables.splits(report),
        certainty=wording.describe_certainty(report.metrics.test, params.evaluate.confidence, params.evaluate.bootstrap),
        warnings=wording.describe_leaks(report.leaks),
        code=made_with.pop("code"),
        made_with=[f"{name} {value}" for name, value in made_with.items() if value != "not installed"],
    )
