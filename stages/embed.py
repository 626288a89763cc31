"""Runs the frozen backbone once over every clip and caches its features, so that later stages do not run it.

The backbone is frozen only with finetune.trainable = head. Otherwise this stage writes only an `embed.json` that states this.
Outputs in `data/embeddings`:

- `<split>.npy` float32 (clips, views, ...): the features of each view, whose shape depends on the model family. A training clip's
  first view is the centred one, the others are augmented. Validation and test clips have the evenly spaced views of evaluate.
- `<split>_mask.npy` bool (clips, views, frames): False for padding; only if the family pads short clips.
- `<split>_labels.npy` int32 (clips, views): per view, because mirroring may change the class.
- `<split>.csv`: clip and group of each row.
- the family's own files, from which finetune builds and saves a top.
- `embed.json`: the settings that the features depend on.

A killed run resumes: finished rows are kept in a scratch folder. Memory use does not grow with the dataset. On a cluster
(`cluster`) many processes compute the rows, with the same result.
"""

import argparse
import shutil
from pathlib import Path

import pandas as pd

from pipeline.artifacts import EMBEDDINGS, FRAMES, EmbedSummary, FramesSummary
from pipeline.cluster import open_cluster
from pipeline.console import RESUMES, run_command, say
from pipeline.files import atomic_folder, content_key, read_json, resumable_scratch, sha256
from pipeline.params import Params, load_params

VERSION = 4  # increase it to discard scratch files of older code


def run(params: Params, frames: Path = FRAMES, out: Path = EMBEDDINGS) -> Path:
    """Embeds every split of `frames` into `out`, which is written atomically; returns `out`."""
    frames, out = Path(frames), Path(out)
    if params.finetune.trainable != "head":
        with atomic_folder(out) as part:
            EmbedSummary(mode="none", reason=f"finetune.trainable is {params.finetune.trainable}").write(part / "embed.json")
        say("nothing to embed: the backbone trains")
        return out
    import tensorflow as tf

    from pipeline.embedding.rows import EmbeddingJob
    from pipeline.embedding.splits import embed_split
    from pipeline.models.family import open_backbone
    from pipeline.training.datasets import ViewRecipe
    from pipeline.training.runtime import enable_determinism

    enable_determinism()
    summary = FramesSummary.of(frames)
    recipe = ViewRecipe(params.sampling, params.augment, params.data.flip, summary.classes, params.seed)
    views = {"train": params.embed.views, "validation": params.evaluate.views, "test": params.evaluate.views}
    backbone = open_backbone(params.model, len(summary.classes), recipe.sampling, params.seed)
    made_with = {
        "seed": params.seed,
        "model": params.model.model_dump(),
        "sampling": vars(recipe.sampling),
        "views": views,
        "augment": params.augment.model_dump(),
        "flip": params.data.flip,
        "weights_digest": backbone.digest,
    } | backbone.made_with
    digests = {split: [sha256(path) for path in summary.files(frames, split)] for split in summary.splits}
    key = content_key(VERSION, tf.__version__, made_with, summary.classes, digests)
    with open_cluster(params.cluster) as cluster, resumable_scratch("embed", key) as store, atomic_folder(out) as part:
        if cluster is not None and not (store / "backbone").is_dir():
            backbone.save(store / "backbone")
        for split, records in summary.splits.items():
            job = EmbeddingJob(split, views[split], params.speed.inference_batch, recipe, backbone.shape)
            embed_split(job, summary.files(frames, split), records.clips, backbone, store.resolve(), cluster)
            for file in job.files(store):
                shutil.move(file, part)
            rows = pd.DataFrame(read_json(job.rows_file(store)), columns=["clip", "group"])
            rows.to_csv(part / f"{split}.csv", index=False)
        backbone.save_initial(part, params.evaluate.views)
        EmbedSummary(
            mode="cached", classes=summary.classes, shape=backbone.shape, masked=recipe.sampling.pads, made_with=made_with
        ).write(part / "embed.json")
    return out


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.embed", description=__doc__.splitlines()[0]).parse_args()
    run(load_params())


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
