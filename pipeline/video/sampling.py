"""Which frames of a clip a model sees. A view is `count` consecutive frames at the model's frame rate, cropped to a square.

In NumPy, for code that runs without TensorFlow; `views` computes the same in a graph, and a test compares them.
A view may also be shown with its frames in another order, to see what a classifier makes of it (`FrameOrder`).
"""

from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np

from pipeline.artifacts import ClassifierDescription

# recorded: as filmed. repeated: the middle frame throughout, so that nothing moves. shuffled: in a random order, so that each
# frame is there, but nothing happens in its order.
FrameOrder = Literal["recorded", "repeated", "shuffled"]
FRAME_ORDERS: tuple[FrameOrder, ...] = get_args(FrameOrder)


@dataclass(frozen=True)
class Sampling:
    """How views are cut out of clips.

    Attributes:
      count: frames of a view.
      size: pixels of a side.
      where: `uniform`: views are evenly spaced over the clip; `first`: the view is the clip's first frames.
      short_clips: a clip with fewer frames than a view is repeated from its first frame (`repeat`), or padded with copies of its
        last frame, which are masked (`pad`).
    """

    count: int
    size: int
    where: Literal["uniform", "first"] = "uniform"
    short_clips: Literal["repeat", "pad"] = "repeat"

    @classmethod
    def of(cls, description: ClassifierDescription) -> Self:
        """The sampling that a classifier was trained with."""
        return cls(description.count, description.size, description.sampling, description.short_clips)

    @property
    def pads(self) -> bool:
        return self.short_clips == "pad"

    def indices(self, total: int, views: int) -> np.ndarray:
        """Frame indices of evenly spaced views of a clip of `total` frames: int (views, count), never outside 0..total-1.

        A single clip needs no padding: if the model pads short clips, views are at most as long as the clip.
        """
        count = min(self.count, total) if self.pads else self.count
        return uniform_indices(total, count, views, self.where)

    def positions(self, total: int, order: FrameOrder, seed: int) -> np.ndarray:
        """The positions in a view of the frames that are shown: int (count,). Padding stays where it is.

        Args:
          total: the clip's number of frames (at least 1).
          seed: of the random order, at least 0.
        """
        real = min(self.count, total)
        changed = real if self.pads else self.count
        positions = np.arange(self.count)
        if order == "repeated":
            positions[:changed] = real // 2
        elif order == "shuffled":
            positions[:changed] = np.random.default_rng(seed).permutation(changed)
        return positions


def uniform_indices(total: int, count: int, views: int, where: str = "uniform") -> np.ndarray:
    """View k of `views` starts in the middle of the k-th of `views` equal parts of the possible starts, or at the first frame."""
    spare = max(total - count, 0) if where == "uniform" else 0
    starts = (2 * np.arange(views) + 1) * spare // (2 * views)
    return (starts[:, None] + np.arange(count)[None, :]) % total
