"""Runs the frozen backbone once over every clip, so that nothing downstream ever runs it again.

Only head-only fine-tuning has a frozen backbone; when more than the head trains, this stage says so in `embed.json` and ends.
Written to `data/embeddings`:

- `<split>.npy` float32 (clips, views, features): the pooled output of the backbone. A training clip's first view is the one of
  testing, the others are augmented; validation and test clips have the views of testing.
- `<split>_labels.npy` int32 (clips, views): a mirrored view may be of another class.
- `<split>.csv`: clip and group of each row.
- `ckpt-1.*`: the classifier in the published layout, its last layer new; `saved_model/`: the same as it is served, so that
  finetune has only another head's values to write.
- `embed.json`: what all this was made with.

A killed run goes on where it was: finished rows are kept in a scratch folder. Memory does not grow with the data set. On a
cluster (`cluster`) the rows are computed by many processes, and are the same.
"""

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.artifacts import EMBEDDINGS, FRAMES
from pipeline.cluster import Workers, open_cluster
from pipeline.console import RESUMES, UserError, progress, run_command, say
from pipeline.files import atomic_folder, content_key, read_json, resumable_scratch, sha256, write_json
from pipeline.params import Params, load_params

VERSION = 3  # bump to discard scratch work written by older code
SAVE_EVERY = 30.0  # seconds between notes of how far it is


def _settings(params: Params, classes: list[str]) -> dict:
    return {
        "mode": "cached",
        "classes": classes,
        "seed": params.seed,
        "model": params.model.model_dump(),
        "count": params.frames.count,
        "size": params.frames.size,
        "views": {"train": params.embed.views, "validation": params.evaluate.views, "test": params.evaluate.views},
        "augment": params.augment.model_dump(),
        "flip": params.data.flip,
    }


def _text(block: dict) -> tuple[np.ndarray, np.ndarray]:
    return block["clip"].numpy(), block["group"].numpy()


def _embed_split(
    split: str,
    files: list[Path],
    clips: int,
    params: Params,
    classes: list[str],
    backbone,
    store: Path,
    cluster: Workers | None,
) -> None:
    """Fills `store`/<split>.npy row by row; rows noted as done by an earlier, killed run are not computed again."""
    from pipeline.embedding.chunks import Job, embed_on_cluster
    from pipeline.training.datasets import embedding_views

    if clips == 0:
        raise UserError(f"{FRAMES}: {split} has no clips")
    views = params.embed.views if split == "train" else params.evaluate.views
    note = store / f"{split}.json"
    features_file, labels_file = store / f"{split}.npy", store / f"{split}_labels.npy"
    rows = read_json(note) if note.exists() else []
    mode = "r+" if rows else "w+"
    features = np.lib.format.open_memmap(features_file, mode, np.float32, (clips, views, backbone.width))
    labels = np.lib.format.open_memmap(labels_file, mode, np.int32, (clips, views))
    if len(rows) == clips:
        return

    def save() -> None:
        features.flush()
        labels.flush()
        write_json(note, rows)

    batch = max(1, params.embed.batch_size // views)
    if cluster is not None:
        job = Job((store / "backbone").resolve(), split, views, batch, params, classes)
        embed_on_cluster(job, files, store.resolve(), cluster, features, labels, rows, save)
        _check_rows(split, rows, clips)
        return
    dataset = embedding_views(files, split, views, params, classes, first=len(rows))
    saved = time.monotonic()
    with progress(total=clips, initial=len(rows), describe=f"embedding {split}", unit="clip") as bar:
        for block in dataset.batch(batch).prefetch(2):
            start, stop = len(rows), len(rows) + len(block["label"])
            pixels = block["views"]
            computed = backbone.features(np.reshape(pixels, (-1, *pixels.shape[2:])))
            features[start:stop] = np.reshape(computed, (stop - start, views, -1))
            labels[start:stop] = block["label"]
            rows += [[clip.decode(), group.decode()] for clip, group in zip(*_text(block), strict=True)]
            bar.update(stop - start)
            if time.monotonic() - saved > SAVE_EVERY:
                save()
                saved = time.monotonic()
    _check_rows(split, rows, clips)
    save()


def _check_rows(split: str, rows: list, clips: int) -> None:
    if len(rows) != clips:
        raise UserError(f"{FRAMES}: {split} has {len(rows)} clips, frames.json says {clips}; run `dvc repro --force extract`")


def run(params: Params, frames: Path = FRAMES, out: Path = EMBEDDINGS) -> Path:
    """Embeds every split of `frames` into `out`, which appears whole; returns it."""
    if params.finetune.trainable != "head":
        with atomic_folder(out) as part:
            write_json(part / "embed.json", {"mode": "none", "reason": f"finetune.trainable is {params.finetune.trainable}"})
        say("nothing to embed: the backbone trains")
        return Path(out)
    with open_cluster(params.cluster) as cluster:
        _embed(params, Path(frames), Path(out), cluster)
    return Path(out)


def _embed(params: Params, frames: Path, out: Path, cluster: Workers | None) -> None:
    import tensorflow as tf

    from pipeline.models.movinet.checkpoints import weights_digest
    from pipeline.models.movinet.classifier import initial_classifier
    from pipeline.models.movinet.head import read_head
    from pipeline.models.movinet.serving import Classifier, FrozenBackbone, save_backbone, save_classifier
    from pipeline.models.movinet.variants import variant_of
    from pipeline.training.runtime import be_deterministic

    be_deterministic()
    summary = read_json(frames / "frames.json")
    classes = summary["classes"]
    settings = _settings(params, classes)
    variant = variant_of(params.model)
    classifier, prefix = initial_classifier(params.model, len(classes), seed=params.seed)
    settings |= {"features": variant.features, "activation": variant.activation, "dropout": variant.dropout}
    settings["weights_digest"] = weights_digest(prefix)
    count, size = params.frames.count, params.frames.size
    backbone = FrozenBackbone(classifier.backbone, variant.features, count=count, size=size)

    files = {split: [frames / name for name in part["files"]] for split, part in summary["splits"].items()}
    digests = {split: [sha256(path) for path in paths] for split, paths in files.items()}
    key = content_key(VERSION, tf.__version__, settings, digests)
    with resumable_scratch("embed", key) as store, atomic_folder(out) as part:
        if cluster is not None and not (store / "backbone").is_dir():
            save_backbone(backbone, store / "backbone")
        for split, paths in files.items():
            _embed_split(split, paths, summary["splits"][split]["clips"], params, classes, backbone, store, cluster)
        for split in files:
            shutil.move(store / f"{split}.npy", part)
            shutil.move(store / f"{split}_labels.npy", part)
            pd.DataFrame(read_json(store / f"{split}.json"), columns=["clip", "group"]).to_csv(part / f"{split}.csv", index=False)
        saved = tf.train.Checkpoint(model=classifier).write(str(part / "ckpt-1"))
        (part / "checkpoint").write_text('model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-1"\n')
        served = Classifier(
            backbone, read_head(saved), activation=variant.activation, count=count, views=params.evaluate.views, size=size
        )
        save_classifier(served, part / "saved_model")
        write_json(part / "embed.json", settings)


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.embed", description=__doc__.splitlines()[0]).parse_args()
    run(load_params())


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
