"""The classifier's folder as finetune leaves it, however it was trained."""

from collections.abc import Callable
from pathlib import Path

from pipeline.files import atomic_folder, write_json
from pipeline.models.movinet.head import read_head
from pipeline.models.movinet.head_values import save_head
from pipeline.models.movinet.variants import Variant
from pipeline.params import Params


def write_classifier(
    out: Path,
    params: Params,
    classes: list[str],
    variant: Variant,
    best_epoch: int,
    write_checkpoint: Callable[[Path], object],
    write_saved_model: Callable[[Path], object],
) -> None:
    """Writes the classifier's folder, whole: the checkpoint (to the prefix given), the SavedModel, and how to feed it."""
    with atomic_folder(out) as part:
        write_checkpoint(part / "ckpt-1")
        (part / "checkpoint").write_text('model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-1"\n')
        save_head(read_head(part / "ckpt-1"), part / "head.npz")
        write_saved_model(part / "saved_model")
        description = {
            "classes": classes,
            "model": params.model.id,
            "activation": variant.activation,
            "trainable": params.finetune.trainable,
            "best_epoch": best_epoch,
            "fps": params.frames.fps,
            "size": params.frames.size,
            "count": params.frames.count,
            "views": params.evaluate.views,
        }
        write_json(part / "classifier.json", description)
