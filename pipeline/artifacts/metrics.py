"""What evaluate writes of the scores: results/metrics.json and its extract results/scores.json."""

from typing import Self

from pipeline.artifacts.classifier import Decision, Interpolation
from pipeline.artifacts.content import Artifact, Content


class Scores(Content):
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


class Gain(Content):
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


class BaselineScores(Content):
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


class Baselines(Content):
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


class LabelErrors(Content):
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


class MainScores(Content):
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
