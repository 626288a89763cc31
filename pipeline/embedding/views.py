"""The views of clips that embed computes, one by one, each with the key of its features.

Invariant: a view depends on the clip's frames, the recipe and the view's number alone: not on the clip's name, label or position,
nor on other clips. So the same clip has the same features in every split and data set.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from pipeline.embedding.record_positions import RecordPosition, clip_positions, read_record
from pipeline.files import content_key
from pipeline.training.datasets import ViewRecipe
from pipeline.video.records import parse_clip_header, read_header


class ClipRecord(NamedTuple):
    """A clip of a split. digest: SHA-256 of its frames."""

    position: RecordPosition
    clip: str
    group: str
    label: int
    frames: int
    digest: str


class View(NamedTuple):
    """A view to compute.

    Attributes:
      key: of its features.
      number, of: it is view `number` of `of` evenly spaced ones; `of` is 0 for an augmented view.
      seed: of the augmentation.
      mirrors: whether the augmentation may mirror it.
    """

    position: RecordPosition
    key: str
    number: int
    of: int
    seed: tuple[int, int]
    mirrors: bool


def read_clip_records(files: Sequence[Path]) -> list[ClipRecord]:
    """The clips of a split, in the order of `read_clips`."""
    clips = []
    for position in clip_positions(files):
        header = read_header(read_record(position))
        clips.append(ClipRecord(position, header.clip, header.group, header.label, header.frames, header.digest))
    return clips


class ViewPlan:
    """Says which views a split's clips have.

    Args:
      made_by: all that the backbone's features depend on.
      views: number of views of a clip. The first view of a training clip is the centred one, the others are augmented; in
        validation and test all are evenly spaced, as in evaluation.
    """

    def __init__(self, made_by: dict, recipe: ViewRecipe, split: str, views: int):
        self._recipe, self._views, self._trains = recipe, views, split == "train"
        self._base = content_key(made_by, vars(recipe.sampling))
        self._augmented = content_key(recipe.augment.model_dump(), recipe.seed)

    def views(self, clip: ClipRecord) -> list[View]:
        """The views of a clip."""
        if not self._trains:
            return [self._even(clip, number, self._views) for number in range(self._views)]
        return [self._even(clip, 0, 1), *(self._random(clip, number) for number in range(1, self._views))]

    def _even(self, clip: ClipRecord, number: int, of: int) -> View:
        return View(clip.position, f"{clip.digest}-{self._base}-{number}-{of}", number, of, (0, 0), False)

    def _random(self, clip: ClipRecord, number: int) -> View:
        mirrors = self._recipe.augment.flip and self._recipe.mirrored[clip.label] >= 0
        key = f"{clip.digest}-{self._base}-{self._augmented}-{number}-{'m' if mirrors else 'u'}"
        draw = int.from_bytes(hashlib.sha256(f"{clip.digest}-{number}".encode()).digest()[:8], "big") >> 1
        return View(clip.position, key, number, 0, (self._recipe.seed, draw), mirrors)


def view_dataset(views: Sequence[View], recipe: ViewRecipe) -> tf.data.Dataset:
    """The pixels of views, in order: `image` float32 (count, size, size, 3) in [0, 1], and `mirrored`, a bool."""

    def records() -> Iterator[tuple]:
        for view in views:
            yield read_record(view.position), view.number, view.of, view.seed, view.mirrors

    def cut_out(serialized: tf.Tensor, number: tf.Tensor, of: tf.Tensor, seed: tf.Tensor, mirrors: tf.Tensor) -> dict:
        clip = parse_clip_header(serialized)
        image, mirrored = tf.cond(
            of > 0,
            lambda: (recipe.evenly_spaced(clip, number, of), False),
            lambda: recipe.augmented_or_mirrored(clip, seed, mirrors),
        )
        return {"image": image, "mirrored": mirrored}

    signature = (
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((2,), tf.int64),
        tf.TensorSpec((), tf.bool),
    )
    dataset = tf.data.Dataset.from_generator(records, output_signature=signature)
    return dataset.map(cut_out, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
