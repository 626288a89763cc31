"""The templates of pages. It imports nothing that draws, so that pages without figures do not wait for it."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["page_templates", "text_templates"]


def page_templates(folder: Path) -> Environment:
    """The templates in `folder`: values are escaped, and one that was not given raises jinja2.UndefinedError."""
    return _templates(folder, escape=True)


def text_templates(folder: Path) -> Environment:
    """The same for files that are not HTML: nothing is escaped."""
    return _templates(folder, escape=False)


def _templates(folder: Path, *, escape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
