"""The features of a split, a row per clip, in arrays of a scratch folder that are filled from the first row to the last.

Invariants: a row is a function of the clip and its index in the split. So a killed run can resume, and a cluster computes bitwise
the same rows as one process on the same kind of machine.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts import FRAMES
from pipeline.console import UserError
from pipeline.files import read_json, write_json
from pipeline.training.datasets import ViewRecipe

SAVE_EVERY = 30.0  # seconds between two saves of the progress


@dataclass(frozen=True)
class EmbeddingJob:
    """How to compute the rows of a split.

    Attributes:
      views: number of views per clip.
      batch: number of views per call of the backbone.
      shape: of the features of one view.
    """

    split: str
    views: int
    batch: int
    recipe: ViewRecipe
    shape: tuple[int, ...]

    @property
    def clips_per_batch(self) -> int:
        return max(1, self.batch // self.views)

    @property
    def arrays(self) -> dict[str, tuple[type, tuple[int, ...]]]:
        """dtype and shape of a row, by the suffix of the array's file name."""
        arrays = {"": (np.float32, (self.views, *self.shape)), "_labels": (np.int32, (self.views,))}
        if self.recipe.sampling.pads:
            arrays["_mask"] = (np.bool_, (self.views, self.recipe.sampling.count))
        return arrays

    def files(self, store: Path) -> list[Path]:
        return [store / f"{self.split}{suffix}.npy" for suffix in self.arrays]

    def rows_file(self, store: Path) -> Path:
        """The file with [clip, group] of each finished row."""
        return store / f"{self.split}.json"

    def compute(self, backbone, block: dict) -> dict[str, np.ndarray]:
        """The rows of a batch of `views_to_embed`, by suffix as in `arrays`. The features of padding are zero."""
        pixels = block["views"]
        computed = np.asarray(backbone.features(np.reshape(pixels, (-1, *pixels.shape[2:]))))
        features = np.reshape(computed, (len(pixels), self.views, *self.shape))
        rows = {"": features, "_labels": np.asarray(block["label"])}
        if self.recipe.sampling.pads:
            mask = np.asarray(block["mask"])
            rows |= {"": features * mask[..., np.newaxis], "_mask": mask}
        return rows


class SplitRows:
    """The arrays of a split in the scratch folder.

    Attributes:
      clips: number of rows.
      done: [clip, group] of the rows that are finished, from the first.
    """

    def __init__(self, job: EmbeddingJob, clips: int, store: Path):
        self.clips = clips
        self._done_file = job.rows_file(store)
        self.done: list[list[str]] = read_json(self._done_file) if self._done_file.exists() else []
        mode = "r+" if self.done else "w+"
        self._arrays = {
            suffix: np.lib.format.open_memmap(file, mode, dtype, (clips, *shape))
            for file, (suffix, (dtype, shape)) in zip(job.files(store), job.arrays.items(), strict=True)
        }
        self._saved = time.monotonic()

    def append(self, rows: dict[str, np.ndarray], names: list[list[str]]) -> None:
        """Adds the rows of the next clips. rows: as `EmbeddingJob.compute` returns them. names: [clip, group] of each clip."""
        start, stop = len(self.done), len(self.done) + len(names)
        if stop > self.clips:
            self.check(stop)
        for suffix, values in rows.items():
            self._arrays[suffix][start:stop] = values
        self.done += names

    def save(self, *, if_due: bool = False) -> bool:
        """Saves the finished rows; with `if_due` only if SAVE_EVERY seconds have passed. Returns whether they were saved."""
        if if_due and time.monotonic() - self._saved < SAVE_EVERY:
            return False
        for array in self._arrays.values():
            array.flush()
        write_json(self._done_file, self.done)
        self._saved = time.monotonic()
        return True

    def check(self, found: int | None = None) -> None:
        """Raises UserError unless the records hold as many clips as frames.json says. found: by default the number of rows."""
        found = len(self.done) if found is None else found
        if found != self.clips:
            message = f"{FRAMES}: the records of {self._done_file.stem} hold {found} clips, but frames.json says {self.clips}"
            raise UserError(message, advice="run `dvc repro --force extract`")


def decode_names(block: dict) -> list[list[str]]:
    """[clip, group] of each clip of a batch."""
    pairs = zip(block["clip"].numpy(), block["group"].numpy(), strict=True)
    return [[clip.decode(), group.decode()] for clip, group in pairs]
