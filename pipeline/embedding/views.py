"""The views of clips that embed computes, one by one, each with the key of its features.

Invariant: a view depends on the clip's frames, the recipe and the view's number alone: not on the clip's name, label or position,
nor on other clips. So the same clip has the same features in every split and data set.
"""

import functools
import hashlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from pipeline.files import content_key
from pipeline.training.datasets import ViewRecipe
from pipeline.video.parsing import parse_clip_header
from pipeline.video.records import RecordPosition, clip_positions, parse_record, read_record
from pipeline.video.sampling import FRAME_ORDERS


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
      positions: of an evenly spaced view's frames in the order in which they are shown; None as recorded.
    """

    position: RecordPosition
    key: str
    number: int
    of: int
    seed: tuple[int, int]
    mirrors: bool
    positions: tuple[int, ...] | None = None


def read_clip_records(files: Sequence[Path]) -> list[ClipRecord]:
    """The clips of a split, in the order of `read_clips`."""
    clips = []
    for position in clip_positions(files):
        stored = parse_record(read_record(position))
        digest = hashlib.sha256(b"".join(hashlib.sha256(jpeg).digest() for jpeg in stored.jpegs)).hexdigest()
        clips.append(ClipRecord(position, stored.clip, stored.group, stored.label, len(stored.jpegs), digest))
    return clips


def spread_clips(clips: Sequence[ClipRecord], most: int) -> list[ClipRecord]:
    """At most `most` of the clips, in order: evenly spaced over classes, groups and names, so each class keeps its share."""
    ordered = sorted(range(len(clips)), key=lambda row: (clips[row].label, clips[row].group, clips[row].clip))
    count = min(most, len(clips))
    return [clips[row] for row in sorted(ordered[(2 * number + 1) * len(clips) // (2 * count)] for number in range(count))]


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

    def reordered(self, clip: ClipRecord) -> list[View]:
        """The middle one of a clip's evenly spaced views in each order of FRAME_ORDERS. The first is one of `views`."""
        sampling, middle = self._recipe.sampling, self._even(clip, self._views // 2, self._views)
        seed = int.from_bytes(hashlib.sha256(f"{clip.digest}-order".encode()).digest()[:8], "big")
        orders = (tuple(sampling.positions(clip.frames, order, seed).tolist()) for order in FRAME_ORDERS)
        recorded = tuple(range(sampling.count))
        return [
            middle
            if positions == recorded
            else middle._replace(key=f"{middle.key}-{content_key(positions)}", positions=positions)
            for positions in orders
        ]

    def _even(self, clip: ClipRecord, number: int, of: int) -> View:
        return View(clip.position, f"{clip.digest}-{self._base}-{number}-{of}", number, of, (0, 0), False)

    def _random(self, clip: ClipRecord, number: int) -> View:
        mirrors = self._recipe.augment.flip and self._recipe.mirrored[clip.label] >= 0
        key = f"{clip.digest}-{self._base}-{self._augmented}-{number}-{'m' if mirrors else 'u'}"
        draw = int.from_bytes(hashlib.sha256(f"{clip.digest}-{number}".encode()).digest()[:8], "big") >> 1
        return View(clip.position, key, number, 0, (self._recipe.seed, draw), mirrors)


def view_dataset(views: Sequence[View], recipe: ViewRecipe) -> tf.data.Dataset:
    """The pixels of views, in order: `image` float32 (count, size, size, 3) in [0, 1], and `mirrored`, a bool."""
    recorded, cut_out = tuple(range(recipe.sampling.count)), _cut_out(pickle.dumps(recipe))

    def records() -> Iterator[tuple]:
        for view in views:
            yield read_record(view.position), view.number, view.of, view.seed, view.mirrors, view.positions or recorded

    dataset = tf.data.Dataset.from_generator(records, output_signature=cut_out.input_signature)
    return dataset.map(cut_out, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


@functools.lru_cache(maxsize=2)
def _cut_out(pickled: bytes) -> Callable:
    """The function from a record to its view, which is traced once for all splits and chunks of a cluster.

    pickled: the recipe, as bytes because `lru_cache` needs hashable arguments.
    """
    recipe: ViewRecipe = pickle.loads(pickled)

    def cut_out(
        serialized: tf.Tensor, number: tf.Tensor, of: tf.Tensor, seed: tf.Tensor, mirrors: tf.Tensor, positions: tf.Tensor
    ) -> dict:
        clip = parse_clip_header(serialized)
        image, mirrored = tf.cond(
            of > 0,
            lambda: (recipe.evenly_spaced(clip, number, of, positions), False),
            lambda: recipe.augmented_or_mirrored(clip, seed, mirrors),
        )
        return {"image": image, "mirrored": mirrored}

    signature = (
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((2,), tf.int64),
        tf.TensorSpec((), tf.bool),
        tf.TensorSpec((recipe.sampling.count,), tf.int32),
    )
    return tf.function(cut_out, input_signature=signature, autograph=False)  # there is nothing for AutoGraph, which takes seconds
