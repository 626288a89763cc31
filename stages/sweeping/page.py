"""The sweep's page: one self-contained HTML file, everything from the data escaped."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

LEFT = ("trial", "trial ended")  # columns of words


def render(**content) -> str:
    """The HTML of page.html.j2; raises jinja2.UndefinedError where the template needs something that was not given."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("page.html.j2").render(**content, left=LEFT)
