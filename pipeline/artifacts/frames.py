"""What extract writes: data/frames/frames.json."""

from pathlib import Path
from typing import Self

from pydantic import ConfigDict

from pipeline.artifacts.content import Artifact, Content
from pipeline.artifacts.paths import Split


class FrameCounts(Content):
    min: int
    median: float
    max: int


class SplitFrames(Content):
    """One split of the records. `files`: names of its TFRecord files, in order."""

    clips: int
    frames: int
    groups: int
    bytes: int
    frames_per_clip: FrameCounts | None
    per_class: dict[str, int]
    files: list[str]


class SkippedClip(Content):
    clip: str
    split: Split
    reason: str


class DamagedClip(Content):
    """A clip that is used although some of it cannot be decoded. Frames: `decoded` of those `expected`, some `repaired`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    clip: str
    split: Split
    decoded: int
    expected: int
    complaint: str


class FramesSummary(Artifact):
    """data/frames/frames.json."""

    classes: list[str]
    fps: float
    size: int
    quality: int
    splits: dict[Split, SplitFrames]
    skipped: list[SkippedClip]
    damaged: list[DamagedClip]

    @classmethod
    def of(cls, frames: Path) -> Self:
        return cls.read(Path(frames) / "frames.json")

    def files(self, frames: Path, split: Split) -> list[Path]:
        """The TFRecord files of a split that lies in `frames`, in order."""
        return [Path(frames) / name for name in self.splits[split].files]
