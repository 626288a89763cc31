"""The features of a split as rows of arrays in a scratch folder, filled one after the other.

Invariants: a row follows from the clip and its index in the split alone, so that a killed run resumes, and the rows of a cluster
are bitwise those of one process on the same kind of machine.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts import FRAMES
from pipeline.console import UserError
from pipeline.files import read_json, write_json
from pipeline.training.datasets import ViewRecipe

SAVE_EVERY = 30.0  # seconds between two notes of the progress


@dataclass(frozen=True)
class EmbeddingJob:
    """What the rows of a split are made with. shape: of the features of a view. batch: views in one pass of the backbone."""

    split: str
    views: int
    batch: int
    recipe: ViewRecipe
    shape: tuple[int, ...]

    @property
    def clips_a_batch(self) -> int:
        return max(1, self.batch // self.views)

    @property
    def arrays(self) -> dict[str, tuple[type, tuple[int, ...]]]:
        """The arrays by the ends of their files' names: type, and shape of a clip's row."""
        found = {"": (np.float32, (self.views, *self.shape)), "_labels": (np.int32, (self.views,))}
        if self.recipe.sampling.pads:
            found["_mask"] = (np.bool_, (self.views, self.recipe.sampling.count))
        return found

    def files(self, store: Path) -> list[Path]:
        return [store / f"{self.split}{end}.npy" for end in self.arrays]

    def rows_file(self, store: Path) -> Path:
        """[clip, group] of each finished row."""
        return store / f"{self.split}.json"

    def compute(self, backbone, block: dict) -> dict[str, np.ndarray]:
        """The rows of a batch of `views_to_embed`, by array; the features of padding are zero."""
        pixels = block["views"]
        computed = np.asarray(backbone.features(np.reshape(pixels, (-1, *pixels.shape[2:]))))
        features = np.reshape(computed, (len(pixels), self.views, *self.shape))
        rows = {"": features, "_labels": np.asarray(block["label"])}
        if self.recipe.sampling.pads:
            mask = np.asarray(block["mask"])
            rows |= {"": features * mask[..., np.newaxis], "_mask": mask}
        return rows


class SplitRows:
    """The arrays of a split in the scratch folder, filled from the first row on."""

    def __init__(self, job: EmbeddingJob, clips: int, store: Path):
        self.clips = clips
        self._note = job.rows_file(store)
        self.done: list[list[str]] = read_json(self._note) if self._note.exists() else []
        mode = "r+" if self.done else "w+"
        self._arrays = {
            end: np.lib.format.open_memmap(file, mode, kind, (clips, *shape))
            for file, (end, (kind, shape)) in zip(job.files(store), job.arrays.items(), strict=True)
        }
        self._saved = time.monotonic()

    def append(self, rows: dict[str, np.ndarray], names: list[list[str]]) -> None:
        """Adds the rows of some clips; names: [clip, group] of each."""
        start, stop = len(self.done), len(self.done) + len(names)
        if stop > self.clips:
            self.check(stop)
        for end, values in rows.items():
            self._arrays[end][start:stop] = values
        self.done += names

    def save(self, *, if_due: bool = False) -> bool:
        """Notes on disk what is done; `if_due`: only when SAVE_EVERY seconds have gone by. Returns whether it was noted."""
        if if_due and time.monotonic() - self._saved < SAVE_EVERY:
            return False
        for array in self._arrays.values():
            array.flush()
        write_json(self._note, self.done)
        self._saved = time.monotonic()
        return True

    def check(self, found: int | None = None) -> None:
        """Raises UserError unless all clips have their row."""
        found = len(self.done) if found is None else found
        if found != self.clips:
            message = f"{FRAMES}: the records of {self._note.stem} hold {found} clips, but frames.json says {self.clips}"
            raise UserError(message, advice="run `dvc repro --force extract`")


def names_of(block: dict) -> list[list[str]]:
    """[clip, group] of each clip of a batch."""
    pairs = zip(block["clip"].numpy(), block["group"].numpy(), strict=True)
    return [[clip.decode(), group.decode()] for clip, group in pairs]
