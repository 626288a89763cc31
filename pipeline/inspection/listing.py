"""The rows of listing.csv, which `data.listing` accepts as they are."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.video.segment import Segment

__all__ = ["Row", "is_listable", "listing_text"]


class Row(NamedTuple):
    """A clip. path: relative to the folder, posix. label: empty if it is unknown. split: None if the source states none."""

    path: str
    label: str
    group: str
    split: str | None
    segment: Segment | None


def is_listable(path: str) -> bool:
    """Whether a listing can name the path: spaces at the ends of a value are no part of it."""
    return path == path.strip()


def listing_text(rows: Sequence[Row]) -> str:
    """The CSV. It has a column split if every row states one, and columns start and end if any row is a segment."""
    splits = bool(rows) and all(row.split is not None for row in rows)
    segments = any(row.segment is not None for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "group", *(["split"] if splits else []), *(["start", "end"] if segments else [])])
    for row in sorted(rows, key=lambda row: (row.path, row.segment or Segment(0.0, None))):
        times = ["", ""] if row.segment is None else ["" if value is None else repr(float(value)) for value in row.segment]
        writer.writerow([row.path, row.label, row.group, *([row.split] if splits else []), *(times if segments else [])])
    return text.getvalue()
