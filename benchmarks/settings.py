"""The job that both ways do: two epochs on a frozen backbone, then an evaluation, on the same clips at the same size and rate."""

from pathlib import Path

from pipeline.console import UserError
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.params import Params, parse_params
from pipeline.sources.folders import folder_clips
from pipeline.sources.splits import OFFICIAL_TEST_GROUPS

SEED = 1
EPOCHS = 2
BATCH = 8
LEARNING_RATE = 1e-3
JPEG_QUALITY = 95


def split_scheme(folder: Path) -> str:
    """How the clips in `folder` are divided: by UCF-101's first fold where the names allow it, else by groups; UserError."""
    clips = folder_clips(str(folder)).clips
    classes = {clip.category for clip in clips}
    if len(classes) < 2:
        raise UserError(f"--clips {folder}: needs videos of two classes at least, as <class>/<video> or in UCF-101's names")
    official = OFFICIAL_TEST_GROUPS[1]
    groups = {name: {clip.number for clip in clips if clip.category == name} for name in classes}
    usable = all(None not in own and own & {*official} and len(own - {*official}) > 1 for own in groups.values())
    return "official" if usable else "grouped"


def job_params(
    clips: Path, *, model: str, weights: str, count: int, size: int | None, scheme: str, workers: int | None = None
) -> Params:
    """The pipeline's parameters for the job: one view a clip, and the epochs, batch and learning rate of the plain way.

    Args:
      clips: a folder of `<class>/<video>` or of videos in UCF-101's names.
      weights: as model.weights.
      count: frames of a view.
      size: pixels of a side; None = the model's own.
      scheme: as data.split.scheme.
      workers: as frames.workers.
    """
    variant = VARIANTS[model]
    return parse_params(
        {
            "seed": SEED,
            "data": {
                "name": "benchmark",
                "archive": None,
                "folder": str(clips),
                "listing": None,
                "class_names": None,
                "watch": "stages/download.py",
                "num_classes": None,
                "classes": None,
                "flip": True,
                "workers": 2,
                "retries": 0,
                "timeout": 30.0,
                "split": {
                    "scheme": scheme,
                    "fold": 1,
                    "test": 0.3,
                    "validation": 0.1,
                    "train_per_class": None,
                    "test_per_class": None,
                },
            },
            "frames": {
                "fps": float(variant.fps),
                "size": size or variant.resolution,
                "count": count,
                "quality": JPEG_QUALITY,
                "shards": 8,
                "on_error": "keep",
                "image_rate": None,
                "workers": workers,
            },
            "model": {
                "id": model,
                "fps": float(variant.fps),
                "resolution": variant.resolution,
                "weights": weights,
                "convolutions": "fast",
            },
            "augment": {"crop": 0.5, "flip": True, "brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "jitter": True},
            "embed": {"views": 1, "batch_size": BATCH},
            "finetune": {
                "trainable": "head",
                "blocks": 2,
                "reuse_projection": True,
                "epochs": EPOCHS,
                "batch_size": BATCH,
                "learning_rate": LEARNING_RATE,
                "warmup": 0.05,
                "weight_decay": 0.01,
                "clip_norm": 1.0,
                "label_smoothing": 0.0,
                "dropout": None,
                "stochastic_depth": 0.2,
                "batch_norm": "auto",
                "batch_norm_momentum": 0.99,
                "rezero": 0.5,
                "patience": None,
                "distribute": "none",
                "precision": "float32",
                "checkpoint_minutes": 1.0,
            },
            "cluster": {"engine": "local", "address": None, "workers": None},
            "evaluate": {"views": 1, "batch_size": BATCH, "bootstrap": 2000, "confidence": 0.95, "bins": 15},
            "export": {"formats": [], "calibration_clips": 1, "max_accuracy_drop": 0.01},
            "report": {"confused_pairs": 15},
            "tracking": {"experiment": None, "register_model": False, "system_metrics": False},
        },
        "the benchmark's parameters",
    )
