"""The sweep's page: one self-contained HTML file, everything from the data escaped."""

from pathlib import Path

from pipeline.reporting.page import page_templates

LEFT = ("trial", "trial ended")  # columns of words


def render(**content) -> str:
    """The HTML of page.html.j2; raises jinja2.UndefinedError where the template needs something that was not given."""
    return page_templates(Path(__file__).parent).get_template("page.html.j2").render(**content, left=LEFT)
