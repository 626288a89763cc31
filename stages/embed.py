"""Runs the frozen backbone once over every clip and caches its features, so that later stages do not run it.

Features are needed with finetune.trainable = probe or head, and with finetune.start = probe. Otherwise this stage writes only an
`embed.json` that states this.
Outputs in `data/embeddings`:

- `<split>.npy` float32 (clips, views, ...): the features of each view, whose shape depends on the model family. A training clip's
  first view is the centred one, the others are augmented. Validation and test clips have the evenly spaced views of evaluate.
- `<split>_mask.npy` bool (clips, views, frames): False for padding; only if the family pads short clips.
- `<split>_labels.npy` int32 (clips, views): per view, because mirroring may change the class.
- `<split>.csv`: clip and group of each row.
- the same files with the name `reordered`, if the backbone stays frozen: of at most evaluate.baseline_clips test clips one view
  with its frames as recorded, with one of them repeated, and shuffled, for the baselines of evaluate.
- the family's own files, from which finetune builds and saves a top.
- `embed.json`: the settings that the features depend on.

Features are kept by the frames of the clip, the weights, the engine and the view in `.cache/features`, which other splits,
subsets and larger data sets share: only what is new is computed, and a killed run resumes. Memory use does not grow with the
dataset. On a cluster (`cluster`) many processes compute them, with the same result.
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts import EMBEDDINGS, FRAMES, EmbedSummary, FramesSummary
from pipeline.cluster import open_cluster
from pipeline.console import RESUMES, run_command, say
from pipeline.files import atomic_folder
from pipeline.params import Params, load_params

if TYPE_CHECKING:
    from pipeline.embedding.store import ViewFeatures
    from pipeline.embedding.views import View

VERSION = 6  # increase it when code changes the features, so that older ones are not used


def run(params: Params, frames: Path = FRAMES, out: Path = EMBEDDINGS) -> Path:
    """Embeds every split of `frames` into `out`, which is written atomically; returns `out`."""
    frames, out = Path(frames), Path(out)
    if not params.finetune.needs_features:
        with atomic_folder(out) as part:
            EmbedSummary(mode="none", reason=f"finetune.trainable is {params.finetune.trainable}").write(part / "embed.json")
        say("nothing to embed: the backbone trains")
        return out
    import tensorflow as tf

    from pipeline.embedding.backbones import saved_backbone
    from pipeline.embedding.compute import compute, compute_on_cluster
    from pipeline.embedding.splits import embed_reordered, embed_split
    from pipeline.embedding.store import open_store
    from pipeline.engines.engine import TensorflowNetwork
    from pipeline.models.family import open_backbone, open_features
    from pipeline.training.datasets import ViewRecipe
    from pipeline.training.runtime import enable_determinism

    enable_determinism()
    summary = FramesSummary.of(frames)
    recipe = ViewRecipe(params.sampling, params.augment, params.data.flip, summary.classes, params.seed)
    views = {"train": params.embed.views, "validation": params.evaluate.views, "test": params.evaluate.views}
    batch = params.speed.inference_batch
    backbone = open_backbone(params.model, len(summary.classes), recipe.sampling, params.seed)
    # Random weights are drawn for the whole network, whose top has an output for each class.
    weights = backbone.digest or {"seed": params.seed, "classes": len(summary.classes)}
    model = params.model.model_dump(exclude={"weights", "watch"})
    made_by = {"version": VERSION, "tensorflow": tf.__version__, "model": model, "weights": weights} | backbone.made_with
    initial = (made_by, vars(recipe.sampling), params.seed, len(summary.classes))
    counts = []
    with (
        open_cluster(params.cluster) as cluster,
        saved_backbone(backbone, params.evaluate.views, *initial) as saved,  # which workers see, too
        open_store(params.speed.feature_cache, backbone.shape) as store,
        atomic_folder(out) as part,
    ):
        network = open_features(saved, params.model, recipe.sampling, params.speed.engine)
        made_by |= network.key

        def compute_views(views: "Sequence[View]") -> "Iterator[list[ViewFeatures]]":
            if cluster is not None:
                engine = "tensorflow" if isinstance(network, TensorflowNetwork) else "openvino"  # on every worker
                open_network = partial(open_features, saved.resolve(), params.model, recipe.sampling, engine)
                return compute_on_cluster(cluster, open_network, views, recipe, batch)
            return compute(network, views, recipe, batch)

        for split, records in summary.splits.items():
            files = [file.resolve() for file in summary.files(frames, split)]
            counts.append(embed_split(split, files, records.clips, made_by, recipe, views[split], store, compute_views, part))
        if params.finetune.frozen and params.evaluate.baseline_clips:
            files = [file.resolve() for file in summary.files(frames, "test")]
            most, number = params.evaluate.baseline_clips, params.evaluate.views
            counts.append(embed_reordered(files, most, made_by, recipe, number, store, compute_views, part))
        shutil.copytree(saved, part, dirs_exist_ok=True)
        made_with = {
            "seed": params.seed,
            "model": params.model.model_dump(),
            "sampling": vars(recipe.sampling),
            "views": views,
            "augment": params.augment.model_dump(),
            "flip": params.data.flip,
            "weights_digest": backbone.digest,
        } | backbone.made_with
        EmbedSummary(
            mode="cached", classes=summary.classes, shape=backbone.shape, masked=recipe.sampling.pads, made_with=made_with
        ).write(part / "embed.json")
    stored = sum(count.stored for count in counts)
    if stored:
        say(f"{stored} of {stored + sum(count.computed for count in counts)} views were in .cache/features")
    return out


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.embed", description=__doc__.splitlines()[0]).parse_args()
    run(load_params())


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
