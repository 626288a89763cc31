"""The page of a comparison: one self-contained HTML file, in the look of the report.

Invariants: the page refers to no other file or host; every name from the data is escaped; nothing is said by colour alone.
"""

import base64
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from pipeline.comparison.compare import Comparison
from pipeline.comparison.content import Section
from pipeline.comparison.wording import caveats, describe_pair, describe_shared, pair_name, show_accuracy, show_points
from pipeline.reporting import templates as report_templates

__all__ = ["render"]


def render(comparison: Comparison, sections: Sequence[Section], picture: bytes) -> str:
    """The HTML. picture: PNG of the figure."""
    templates = report_templates.page_templates(Path(__file__).parent)
    templates.filters |= {"jpeg": lambda content: _data_url("image/jpeg", content)}
    style = Path(report_templates.__file__).with_name("page.css").read_text(encoding="utf-8")
    return templates.get_template("page.html.j2").render(
        title=" against ".join(model.label for model in comparison.models),
        verdicts=[describe_pair(comparison, pair) for pair in comparison.pairs],
        shared=describe_shared(comparison),
        models=comparison.models,
        caveats=caveats(comparison),
        sections=sections,
        picture=_data_url("image/png", picture),
        alt=describe_figure(comparison),
        style=Markup(style),
    )


def describe_figure(comparison: Comparison) -> str:
    """What the figure shows, in numbers, for those who do not see it."""
    scores = [
        f"{model.label} {show_accuracy(of.accuracy)}" for model, of in zip(comparison.models, comparison.scores, strict=True)
    ]
    pairs = [f"{pair_name(comparison, pair)} {show_points(pair.accuracy)} points" for pair in comparison.pairs]
    return f"Accuracies with intervals: {'; '.join(scores)}. Differences with intervals, against zero: {'; '.join(pairs)}."


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
