"""The kinds of sources, and which of them `data` names."""

from pathlib import Path

from pipeline.console import UserError
from pipeline.settings import Data, Speed
from pipeline.sources.archive_source import ArchiveSource
from pipeline.sources.folder_source import FolderSource
from pipeline.sources.source import Source

__all__ = ["open_source"]


def open_source(data: Data, speed: Speed) -> Source:
    """Opens the source that `data` names, to be closed by the caller. Raises UserError if it cannot be opened.

    Also raises UserError for `~` in data.watch: DVC, which does not expand it, would fail only after the stage.
    """
    if data.watch.startswith("~"):
        message = f"data.watch = {data.watch}: DVC does not expand ~"
        raise UserError(message, advice=f"give data.folder or data.archive as {Path(data.watch).expanduser()}")
    if data.archive is not None:
        return ArchiveSource(data, speed)
    return FolderSource(data, speed)
