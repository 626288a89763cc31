"""The content of inspection.json: what an inspection found, with names that scripts can rely on."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipeline.artifacts import Artifact
from pipeline.duplicates.search import Kind

__all__ = [
    "ClassSummary",
    "Duplicates",
    "Finding",
    "GroupBy",
    "GroupCandidate",
    "Inspection",
    "Unused",
    "Video",
]

GroupBy = Literal["layout", "stem", "date", "person", "folder", "none"]


class _Content(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Suspicion(_Content):
    """What is odd about a video that can be used. kind: see `suspicions`."""

    kind: str
    text: str


class Video(_Content):
    """A video, or a folder of images.

    Attributes:
      path: posix, relative to the folder. label: its class; empty if none is known. Of a recording with segments of several
        classes, some of their names, as text.
      labels: number of clips by class, of such a recording. group: as text too, if its segments have several.
      bytes: of the file, or of all images.
      seconds: duration; decoded where the video was looked at as a whole, else the header's. None if it is unknown.
      header_seconds: duration according to the header. looked_at: seconds that were decoded.
      width, height: pixels as shown. fps: the header's frame rate. None where the header could not be read.
      motion, brightness: on a scale of 0 to 255: how much that of 8 x 8 parts of the picture changes that changes most, and the
        mean of the brightest frame.
      broken: why it cannot be decoded; None if it can.
      clips: number of clips that it holds: 1, or its segments in a listing.
    """

    path: str
    label: str
    group: str
    split: str | None
    bytes: int
    clips: int = 1
    labels: dict[str, int] = {}
    seconds: float | None = None
    header_seconds: float | None = None
    looked_at: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    codec: str | None = None
    motion: float | None = None
    brightness: float | None = None
    broken: str | None = None
    suspicions: list[Suspicion] = []

    @property
    def clips_by_label(self) -> dict[str, int]:
        return self.labels or {self.label: self.clips}


class Unused(_Content):
    """A file that is not used as a video. problem: False for what lies next to videos on purpose, such as text files."""

    path: str
    reason: str
    problem: bool


class ClassSummary(_Content):
    """A class, without videos that cannot be decoded.

    Attributes:
      seconds, median_seconds: durations. share: of all clips. groups: number of groups in the listing.
      splits: number of clips by the split that the source states, if it does.
    """

    label: str
    clips: int
    seconds: float
    median_seconds: float | None
    share: float
    groups: int
    bytes: int
    splits: dict[str, int] = {}


class GroupCandidate(_Content):
    """A reading of the file names, or folders, as groups.

    Attributes:
      named: number of videos whose name states a group; each other one is its own group.
      groups: number of groups that names state; largest: number of videos in `largest_group`.
      fewest: number of groups of `fewest_class`, the class with the fewest.
      fits: whether a split can use it: it is stated by most names, and every class has at least 3 groups.
      reason: why it fits or does not, one clause.
      examples: `<group>: <file>, <file>`.
    """

    by: GroupBy
    named: int
    groups: int
    largest: int
    largest_group: str
    fewest: int
    fewest_class: str
    fits: bool
    reason: str
    examples: list[str]


class DuplicatePair(_Content):
    first: str
    second: str
    kind: Kind
    score: float


class Duplicates(_Content):
    """Videos that show the same. across_classes: they have several labels, segments of recordings aside."""

    paths: list[str]
    across_classes: bool
    pairs: list[DuplicatePair]


class NameHint(_Content):
    """A file that is named like a copy of another one, but shows something else."""

    original: str
    copy_path: str


class Finding(_Content):
    """Something to look at. status: a problem is left out of the listing or keeps a run from starting. paths: of the files."""

    kind: str
    status: Literal["problem", "warning", "note"]
    message: str
    advice: str = ""
    paths: list[str] = []


class Inspection(Artifact):
    """inspection.json.

    Attributes:
      source: the folder or archive. folder: where its files were read; `source` itself, or where an archive was unpacked.
      layout: how it was understood. recognised: whether that gives classes.
      findings: what to look at, the most serious first.
      grouped_by: what gives the groups of the listing, and why.
      unlabelled: number of rows of the listing without a label.
      next_steps: commands and advice, one line each.
    """

    source: str
    archive: bool
    layout: str
    recognised: bool
    seconds: float
    bytes: int
    clips: int
    unlabelled: int
    grouped_by: GroupBy
    grouping: str
    findings: list[Finding]
    classes: list[ClassSummary]
    group_candidates: list[GroupCandidate]
    duplicates: list[Duplicates]
    name_hints: list[NameHint]
    unused: list[Unused]
    videos: list[Video]
    next_steps: list[str]
