"""What evaluate writes of clips to show: results/clips/clips.json."""

from pipeline.artifacts.content import Artifact, Content
from pipeline.artifacts.paths import Split


class Strip(Content):
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


class Neighbour(Content):
    """A training clip and its cosine similarity to a test clip, of the features of the frozen backbone."""

    clip: str
    class_name: str
    similarity: float


class Occlusion(Content):
    """By how much the predicted class becomes less probable where a part of a clip is covered; below zero: more probable.

    Attributes:
      probability: of the class while nothing is covered.
      space: by the rows of a grid over the square that the classifier sees, each cell covered in all frames.
      time: by segments of time, whose middles are the frames of the clip's strip.
    """

    probability: float
    space: list[list[float]]
    time: list[float]


class RunningPrediction(Content):
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


class Mistake(Content):
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
