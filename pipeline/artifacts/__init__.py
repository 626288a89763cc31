"""Every file that a stage makes: its path, its content, how it is read and written.

Stages and commands refer to each other's files through this package only; a module of it holds the content of one stage's files
or of one subject. Unknown keys are ignored, so that files written by a newer version can be read; those written by an older one
are read with the defaults given here.
"""

from pipeline.artifacts.classifier import ClassifierDescription, Decision, Interpolation
from pipeline.artifacts.clips import Mistake, Neighbour, Occlusion, RunningPrediction, ShownClips, Strip
from pipeline.artifacts.content import Artifact
from pipeline.artifacts.embeddings import EmbedSummary, is_cached
from pipeline.artifacts.exports import ExportRow, read_export, write_export
from pipeline.artifacts.frames import DamagedClip, FrameCounts, FramesSummary, SkippedClip, SplitFrames
from pipeline.artifacts.held_out import HeldOutClass, HeldOutClasses
from pipeline.artifacts.metrics import Baselines, BaselineScores, Gain, LabelErrors, MainScores, Metrics, Scores, ScoresSummary
from pipeline.artifacts.paths import (
    CARD,
    CLASSIFIER,
    CLIPS,
    CODE,
    EMBEDDINGS,
    EXPORT,
    EXPORT_RESULTS,
    FRAMES,
    HELD_OUT,
    HISTORY,
    MANIFEST,
    METRICS,
    PREDICTIONS,
    REORDERED,
    REPORT,
    RUN,
    SCORES,
    SHOWN_CLIPS,
    STARTING_PROBE,
    SUSPECTS,
    TRAINING_RUN,
    Split,
)
from pipeline.artifacts.runs import RunRecord

__all__ = [
    "Artifact",
    "CARD",
    "BaselineScores",
    "Baselines",
    "CLASSIFIER",
    "CLIPS",
    "CODE",
    "ClassifierDescription",
    "DamagedClip",
    "Decision",
    "EMBEDDINGS",
    "EXPORT",
    "EXPORT_RESULTS",
    "EmbedSummary",
    "ExportRow",
    "FRAMES",
    "FrameCounts",
    "FramesSummary",
    "Gain",
    "HELD_OUT",
    "HISTORY",
    "HeldOutClass",
    "HeldOutClasses",
    "Interpolation",
    "LabelErrors",
    "MANIFEST",
    "METRICS",
    "MainScores",
    "Metrics",
    "Mistake",
    "Neighbour",
    "Occlusion",
    "PREDICTIONS",
    "REORDERED",
    "REPORT",
    "RUN",
    "RunRecord",
    "RunningPrediction",
    "SCORES",
    "SHOWN_CLIPS",
    "STARTING_PROBE",
    "SUSPECTS",
    "Scores",
    "ScoresSummary",
    "ShownClips",
    "SkippedClip",
    "Split",
    "SplitFrames",
    "Strip",
    "TRAINING_RUN",
    "is_cached",
    "read_export",
    "write_export",
]
