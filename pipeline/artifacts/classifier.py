"""What finetune writes: models/classifier/classifier.json."""

from pathlib import Path
from typing import Any, Literal, Self

from pipeline.artifacts.content import Artifact, Content


class Decision(Content):
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


class Interpolation(Content):
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
