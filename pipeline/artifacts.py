"""Every file that a stage makes: its path, its content, how it is read and written.

Stages and commands refer to each other's files through this module only. Paths are relative to the working directory of a stage:
the repository, or the copy of it in which DVC runs an experiment. Unknown keys are ignored, so that files written by a newer
version can be read; those written by an older one are read with the defaults given here.
"""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.console import UserError
from pipeline.files import read_json, write_json

CODE = ("stages", "pipeline")  # the folders of the code that decides results

CLIPS = Path("data/clips")  # download
MANIFEST = Path("data/manifest.csv")
FRAMES = Path("data/frames")  # extract
EMBEDDINGS = Path("data/embeddings")  # embed
REORDERED = "reordered"  # in the place of a split's name: test clips in each `FrameOrder`, in the place of their views
CLASSIFIER = Path("models/classifier")  # finetune
STARTING_PROBE = "starting_probe.npz"  # in CLASSIFIER, of a network whose training started from a probe: its last layer
TRAINING_RUN = Path("models/run.json")
HISTORY = Path("results/history.csv")
METRICS = Path("results/metrics.json")  # evaluate
SCORES = Path("results/scores.json")
PREDICTIONS = Path("results/predictions.csv")
HELD_OUT = Path("results/held_out.json")
SUSPECTS = Path("results/suspects.csv")
SHOWN_CLIPS = Path("results/clips")
RUN = Path("results/run.json")  # the MLflow run that report and export log to, too
EXPORT = Path("models/export")  # export
EXPORT_RESULTS = Path("results/export.json")
REPORT = Path("results/report")  # report

Split = Literal["train", "validation", "test"]


class _Content(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Artifact(_Content):
    """The content of a JSON file."""

    @classmethod
    def parse(cls, content: Any, path: Path) -> Self:
        """Raises UserError naming the file and what in it does not fit."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            what = f"lacks {where}" if first["type"] == "missing" else f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}"
            raise UserError(f"{path}: {what}", advice="run `dvc repro`, which makes it again") from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises UserError when the file is absent, not JSON, or does not hold what it should."""
        return cls.parse(read_json(path), path)

    @classmethod
    def from_text(cls, text: str, path: Path) -> Self:
        """The same of a file's text, for files that are not on this disk."""
        return cls.parse(json.loads(text), path)

    def write(self, path: Path) -> None:
        write_json(path, self.model_dump(mode="json"))


# --- frames.json, written by extract


class FrameCounts(_Content):
    min: int
    median: float
    max: int


class SplitFrames(_Content):
    """One split of the records. `files`: names of its TFRecord files, in order."""

    clips: int
    frames: int
    groups: int
    bytes: int
    frames_per_clip: FrameCounts | None
    per_class: dict[str, int]
    files: list[str]


class SkippedClip(_Content):
    clip: str
    split: Split
    reason: str


class DamagedClip(_Content):
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


# --- embed.json, written by embed


class EmbedSummary(Artifact):
    """data/embeddings/embed.json.

    Attributes:
      mode: cached, or none where the backbone trains, so that there is nothing to cache; then `reason` says why.
      shape: of the features of one view.
      masked: whether some of a view's frames may be padding, so that there are masks.
    """

    mode: Literal["cached", "none"]
    reason: str = ""
    classes: list[str] = []
    shape: tuple[int, ...] = ()
    masked: bool = False
    made_with: dict[str, Any] = {}

    @classmethod
    def of(cls, embeddings: Path) -> Self:
        return cls.read(Path(embeddings) / "embed.json")


def is_cached(embeddings: Path) -> bool:
    """Whether a folder that embed wrote holds features, that is, whether the backbone is frozen."""
    return EmbedSummary.of(embeddings).mode == "cached"


# --- classifier.json, written by finetune


class Decision(_Content):
    """When a prediction is `unknown`, and what was measured for it on the validation clips.

    Attributes:
      temperature: by which the logits were divided to calibrate the probabilities; it is part of the saved weights.
      threshold: a prediction whose confidence is lower is unknown. Confidence: the largest probability of a class other than
        `background`.
      by, level: what the threshold was chosen for (`finetune.unknown`).
      coverage: of the clips of known classes, the share with a class; precision: the share of these whose class is right.
      background: the class that stands for none of the others; None if there is none.
      clip_seconds: median length of the validation clips, in seconds.
      uncalibrated_log_loss, log_loss: of the validation clips, before and after calibration.
    """

    temperature: float = 1.0
    threshold: float
    by: Literal["coverage", "precision"]
    level: float
    coverage: float
    precision: float
    background: str | None = None
    clip_seconds: float
    uncalibrated_log_loss: float | None = None
    log_loss: float | None = None


class Interpolation(_Content):
    """Between the weights before a training and those after it: the validation log loss of each step, and the one chosen."""

    steps: list[float]
    log_loss: list[float]
    chosen: float


class ClassifierDescription(Artifact):
    """models/classifier/classifier.json: how the classifier was trained and how it is fed.

    Attributes:
      family, model: the package of `pipeline.models`, and `model.id`.
      settings: the section `model` that it was trained with; empty in files written before there was more than one family.
      classes: names in the order of the outputs.
      fps: frames a second. size: pixels of a side. count: frames of a view. views: of a clip.
      sampling: where the views of a clip lie (`frames.sampling`). short_clips: see `ModelSettings`.
      activation: of the top's first layer, where the family has had several; None elsewhere.
      parameters: weights, without the moving statistics of batch norm; None in files of earlier versions.
      decision: None in files of earlier versions.
      interpolation: of a network whose training started from a probe.
    """

    classes: list[str]
    model: str
    family: str = "movinet"
    settings: dict[str, Any] = {}
    trainable: str = "head"
    best_epoch: int = 0
    fps: float
    size: int
    count: int
    views: int
    sampling: Literal["uniform", "first"] = "uniform"
    short_clips: Literal["repeat", "pad"] = "repeat"
    activation: str | None = None
    parameters: int | None = None
    decision: Decision | None = None
    interpolation: Interpolation | None = None

    @classmethod
    def of(cls, classifier: Path) -> Self:
        return cls.read(Path(classifier) / "classifier.json")


# --- run.json, written by finetune and evaluate


class RunRecord(Artifact):
    """models/run.json and results/run.json: the MLflow run of a stage's results.

    environment: what the classifier was trained with and on (`tracking.environment`); None where an earlier version trained it.
    """

    run_id: str
    experiment: str = ""
    tracking_uri: str = ""
    environment: dict[str, Any] | None = None


# --- metrics.json, written by evaluate


class Scores(_Content):
    """Of one split. Intervals (`low`, `high`) are None where all clips are of one group.

    Attributes, besides the names that are clear (`metrics.score`, `selective.selective_scores` define all):
      aurc: area under the risk-coverage curve. accuracy_at_90_coverage: of the most confident clips, 90% of all.
      coverage, accuracy_when_known: share of the clips that get a class at the threshold of `Decision`, and of these the share
        that is right. All of these are None in files of earlier versions, and where the split has no clips for them.
      balanced_accuracy: mean recall over the classes that have clips; None in files of earlier versions.
    """

    top1: float
    top1_low: float | None
    top1_high: float | None
    top5: float
    top5_low: float | None
    top5_high: float | None
    macro_f1: float
    macro_f1_low: float | None
    macro_f1_high: float | None
    balanced_accuracy: float | None = None
    balanced_accuracy_low: float | None = None
    balanced_accuracy_high: float | None = None
    log_loss: float
    ece: float
    clips: int
    groups: int
    aurc: float | None = None
    accuracy_at_90_coverage: float | None = None
    coverage: float | None = None
    coverage_low: float | None = None
    coverage_high: float | None = None
    accuracy_when_known: float | None = None
    accuracy_when_known_low: float | None = None
    accuracy_when_known_high: float | None = None


class Gain(_Content):
    """What training a network gained over the probe that it started from, on the same test clips.

    Attributes:
      probe_top1, probe_log_loss: of the probe, calibrated as the classifier is.
      top1, log_loss: the classifier's less the probe's; the ends of their paired intervals are None with a single group.
    """

    probe_top1: float
    probe_log_loss: float
    top1: float
    top1_low: float | None
    top1_high: float | None
    log_loss: float
    log_loss_low: float | None
    log_loss_high: float | None


class BaselineScores(_Content):
    """Scores of test clips, and what the classifier gains on a baseline.

    Attributes:
      gain: accuracy of the classifier on the same clips and views, less that of the baseline; its interval is of the paired
        difference. None of the classifier itself, and intervals where all clips are of one group.
      log_loss: None of a baseline without probabilities.
    """

    top1: float
    top1_low: float | None
    top1_high: float | None
    log_loss: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None


class Baselines(_Content):
    """What the classifier's accuracy is to be compared with; `evaluation.baselines` measures it.

    Attributes:
      largest_class: always the class `largest_class_name`, which has the most training clips; of all test clips.
      clips, groups: of the following, for which each clip has one view; none with evaluate.baseline_clips = 0.
      one_view: the classifier. one_frame: the classifier, where a frame is repeated. shuffled: the same, where frames are in a
        random order.
    """

    largest_class_name: str
    largest_class: BaselineScores
    clips: int = 0
    groups: int = 0
    one_view: BaselineScores | None = None
    one_frame: BaselineScores | None = None
    shuffled: BaselineScores | None = None

    def top1_by_name(self) -> dict[str, float]:
        """The accuracies, of those that were measured."""
        scores = {name: getattr(self, name) for name in ("largest_class", "one_view", "one_frame", "shuffled")}
        return {name: of.top1 for name, of in scores.items() if of is not None}


class LabelErrors(_Content):
    """The search for clips whose label may be wrong, which results/suspects.csv names.

    Attributes:
      clips: of all splits. judged: those of classes with enough groups. suspects: number of rows of the file.
      accuracy: of a model that did not see the clip's group, on the judged clips, mean over the classes; None if none is judged.
      reason: why there can be no suspects; empty if there can.
    """

    clips: int = 0
    judged: int = 0
    suspects: int = 0
    accuracy: float | None = None
    reason: str = ""


class Metrics(Artifact):
    """results/metrics.json.

    decision, interpolation: of the classifier that was evaluated. They, baselines and label_errors are None in files of earlier
    versions.
    """

    test: Scores
    validation: Scores | None = None
    decision: Decision | None = None
    interpolation: Interpolation | None = None
    baselines: Baselines | None = None
    gain_over_probe: Gain | None = None
    label_errors: LabelErrors | None = None


# --- scores.json, written by evaluate


class MainScores(_Content):
    """The main ones of `Scores`."""

    top1: float
    top1_low: float | None
    top1_high: float | None
    macro_f1: float
    log_loss: float
    ece: float


class ScoresSummary(Artifact):
    """results/scores.json: the numbers that `dvc metrics diff` and `dvc exp show` list; metrics.json has all."""

    test: MainScores
    validation: MainScores | None = None

    @classmethod
    def of(cls, metrics: Metrics) -> Self:
        return cls.model_validate(metrics.model_dump(include={"test", "validation"}))


# --- held_out.json, written by evaluate


class HeldOutClass(_Content):
    """How clips of a class fare that a classifier was not trained on.

    Attributes:
      clips, groups: of the class in test. refused: number of its clips that are unknown.
      coverage: share of the test clips of the other classes that get a class; accuracy: of all these, the share that is right.
      auroc: of telling the two apart by confidence.
      threshold: chosen on the validation clips of the other classes.
    """

    class_name: str
    clips: int
    groups: int
    refused: int
    coverage: float
    accuracy: float
    auroc: float
    threshold: float


class HeldOutClasses(Artifact):
    """results/held_out.json: a classifier without each of `classes`, and their clips as unknown ones.

    Attributes:
      method: what the classifiers are.
      of: number of classes that could be held out; `classes` may be fewer.
      reason: why there are none; empty if there are some.
    """

    method: str = ""
    of: int = 0
    classes: list[HeldOutClass] = []
    reason: str = ""

    def means(self) -> dict[str, float]:
        """The means over the classes: the share that is `refused`, `coverage`, `accuracy` and `auroc`; empty without classes."""
        if not self.classes:
            return {}
        rows = [(row.refused / row.clips, row.coverage, row.accuracy, row.auroc) for row in self.classes]
        names = ("refused", "coverage", "accuracy", "auroc")
        return {name: sum(values) / len(rows) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


# --- clips/clips.json, written by evaluate


class Strip(_Content):
    """A clip as a film strip.

    Attributes:
      files: JPEGs next to clips.json, each of `frames_per_file` frames side by side, the last one of the rest.
      width, height: pixels of a frame. gap: pixels between two frames.
      seconds: of each frame, from the clip's start.
    """

    clip: str
    split: Split
    class_name: str
    files: list[str]
    frames_per_file: int
    width: int
    height: int
    gap: int
    seconds: list[float]


class Neighbour(_Content):
    """A training clip and its cosine similarity to a test clip, of the features of the frozen backbone."""

    clip: str
    class_name: str
    similarity: float


class Occlusion(_Content):
    """By how much the predicted class becomes less probable where a part of a clip is covered; below zero: more probable.

    Attributes:
      probability: of the class while nothing is covered.
      space: by the rows of a grid over the square that the classifier sees, each cell covered in all frames.
      time: by segments of time, whose middles are the frames of the clip's strip.
    """

    probability: float
    space: list[list[float]]
    time: list[float]


class RunningPrediction(_Content):
    """The prediction after each frame of a clip, from all frames so far.

    Attributes:
      classes: some of them: the predicted one, the actual one, and others.
      seconds: of each frame. probabilities: a row per frame, of `classes`.
      frames: of the clip, of which these may be the first.
    """

    classes: list[str]
    seconds: list[float]
    probabilities: list[list[float]]
    frames: int


class Mistake(_Content):
    """A misclassified test clip. neighbours: the most similar one first."""

    clip: str
    neighbours: list[Neighbour] = []
    occlusion: Occlusion | None = None
    running: RunningPrediction | None = None


class ShownClips(Artifact):
    """results/clips/clips.json: what a report shows of clips.

    Attributes:
      mistakes: the surest ones, the surest first.
      no_neighbours, no_occlusion, no_running: why none of the mistakes has these; empty if some have.
    """

    strips: list[Strip] = []
    mistakes: list[Mistake] = []
    no_neighbours: str = ""
    no_occlusion: str = ""
    no_running: str = ""


# --- export.json, written by export


class ExportRow(Artifact):
    """One exported file and how it fared on the test clips.

    Attributes:
      accuracy_drop: top-1 of the network less that of the file.
      agreement: part of all frames of all views after which the file puts the same class first as the network; agreement_at_end:
        after the last frames of the views; agreement_by_frame: after the first, the second, ...
      frames: of all views together. milliseconds_a_frame: median, with `threads`. state_bytes: kept between frames.
      note: to the reader.
      run_id: the MLflow run whose classifier was exported.
    """

    format: str
    file: str
    bytes: int
    test_top1: float
    clips: int
    groups: int
    accuracy_drop: float
    agreement: float
    test_top1_low: float | None = None
    test_top1_high: float | None = None
    agreement_at_end: float | None = None
    agreement_by_frame: list[float] | None = None
    frames: int | None = None
    milliseconds_a_frame: float | None = None
    threads: int | None = None
    state_bytes: int | None = None
    note: str | None = None
    run_id: str | None = None


def read_export(path: Path) -> list[ExportRow]:
    """Reads results/export.json: a row a file; none where nothing was exported."""
    return [ExportRow.parse(row, path) for row in read_json(path)]


def write_export(path: Path, rows: list[ExportRow]) -> None:
    write_json(path, [row.model_dump(exclude_none=True) for row in rows])
