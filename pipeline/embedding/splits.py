"""Assembles the arrays of a split from the features of its views, computing those that the store does not have."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.artifacts import FRAMES, REORDERED
from pipeline.console import UserError, progress
from pipeline.embedding.store import FeatureStore, ViewFeatures
from pipeline.embedding.views import ClipRecord, View, ViewPlan, read_clip_records, spread_clips
from pipeline.training.datasets import ViewRecipe

READ = 512  # views that are read from the store in one transaction

Compute = Callable[[Sequence[View]], Iterator[list[ViewFeatures]]]


@dataclass(frozen=True)
class EmbeddedSplit:
    """How many views were in the store, and how many were computed."""

    stored: int
    computed: int


def embed_split(
    split: str,
    files: Sequence[Path],
    clips: int,
    made_by: dict,
    recipe: ViewRecipe,
    views: int,
    store: FeatureStore,
    compute: Compute,
    out: Path,
) -> EmbeddedSplit:
    """Writes a split's arrays and its `<split>.csv` into `out`. What is computed is stored at once, so a killed run resumes.

    Args:
      files: the split's records, in order.
      clips: number of clips in them.
      made_by: all that the backbone's features depend on.
      views: number of views of a clip.
      compute: yields the features of views, in order, some at a time.

    Raises:
      UserError: the split is empty, or the records do not hold `clips` clips.
    """
    if clips == 0:
        raise UserError(f"{FRAMES}: {split} has no clips")
    records = read_clip_records(files)
    if len(records) != clips:
        message = f"{FRAMES}: the records of {split} hold {len(records)} clips, but frames.json says {clips}"
        raise UserError(message, advice="run `dvc repro --force extract`")
    plan = ViewPlan(made_by, recipe, split, views)
    return _embed_clips(split, records, [plan.views(record) for record in records], recipe, store, compute, out)


def embed_reordered(
    files: Sequence[Path],
    most: int,
    made_by: dict,
    recipe: ViewRecipe,
    views: int,
    store: FeatureStore,
    compute: Compute,
    out: Path,
) -> EmbeddedSplit:
    """Writes `reordered.npy` and so on into `out`: of at most `most` test clips one view, in each order of FRAME_ORDERS.

    Arguments: see `embed_split`; files: of the test clips.
    """
    records = spread_clips(read_clip_records(files), most)
    plan = ViewPlan(made_by, recipe, "test", views)
    return _embed_clips(REORDERED, records, [plan.reordered(record) for record in records], recipe, store, compute, out)


def _embed_clips(
    name: str,
    records: Sequence[ClipRecord],
    views_of: Sequence[list[View]],
    recipe: ViewRecipe,
    store: FeatureStore,
    compute: Compute,
    out: Path,
) -> EmbeddedSplit:
    """Writes the arrays and the CSV file `name`. views_of: of each clip, as many for one as for another."""
    sampling, mirrored_label = recipe.sampling, recipe.mirrored
    clips, views = len(records), len(views_of[0])
    wanted = [(row, number, view) for row, of_clip in enumerate(views_of) for number, view in enumerate(of_clip)]
    features = np.lib.format.open_memmap(out / f"{name}.npy", "w+", np.float32, (clips, views, *store.shape))
    labels = np.empty((clips, views), np.int32)
    mask = np.stack([np.arange(sampling.count) < record.frames for record in records])

    def fill(row: int, number: int, view: ViewFeatures) -> None:
        # The features of padding are zero.
        features[row, number] = view.features * mask[row][:, np.newaxis] if sampling.pads else view.features
        labels[row, number] = mirrored_label[records[row].label] if view.mirrored else records[row].label

    missing = []
    with progress(total=len(wanted), describe=f"embedding {name}", unit="view") as bar:
        for start in range(0, len(wanted), READ):
            some = wanted[start : start + READ]
            for (row, number, view), found in zip(some, store.read([view.key for _, _, view in some]), strict=True):
                if found is None:
                    missing.append((row, number, view))
                else:
                    fill(row, number, found)
        bar.update(len(wanted) - len(missing))
        done = 0
        for block in compute([view for _, _, view in missing]) if missing else ():
            filled = missing[done : done + len(block)]
            for (row, number, _), computed in zip(filled, block, strict=True):
                fill(row, number, computed)
            store.write({view.key: computed for (_, _, view), computed in zip(filled, block, strict=True)})
            done += len(block)
            bar.update(len(block))
    features.flush()
    np.save(out / f"{name}_labels.npy", labels)
    if sampling.pads:
        np.save(out / f"{name}_mask.npy", np.repeat(mask[:, np.newaxis], views, axis=1))
    pd.DataFrame([(record.clip, record.group) for record in records], columns=["clip", "group"]).to_csv(
        out / f"{name}.csv", index=False
    )
    return EmbeddedSplit(len(wanted) - len(missing), len(missing))
