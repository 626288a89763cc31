"""What evaluate writes of classes held out: results/held_out.json."""

from pipeline.artifacts.content import Artifact, Content


class HeldOutClass(Content):
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
