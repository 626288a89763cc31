"""Writes synthetic inputs of a report, as earlier stages would, for any number of classes."""

import functools
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from pipeline.artifacts import Baselines, BaselineScores, Decision, HeldOutClass, HeldOutClasses, LabelErrors, Metrics
from pipeline.evaluation.metrics import score
from pipeline.evaluation.predictions import predictions_frame, write_predictions
from pipeline.evaluation.selective import selective_scores
from pipeline.evaluation.suspects import write_suspects
from pipeline.files import write_json
from pipeline.params import Params, parse_params
from pipeline.sources.manifest import write_manifest

CONF = Path(__file__).parents[2] / "conf"
DECISION = Decision(
    temperature=1.5,
    threshold=0.6,
    by="coverage",
    level=0.95,
    coverage=0.96,
    precision=0.9,
    clip_seconds=8.0,
    uncalibrated_log_loss=0.45,
    log_loss=0.4,
)
ONE_VIEW = BaselineScores(top1=0.95, top1_low=0.9, top1_high=0.98, log_loss=0.2)
ONE_FRAME = BaselineScores(top1=0.9, top1_low=0.85, top1_high=0.94, log_loss=0.3, gain=0.05, gain_low=0.012, gain_high=0.084)
SHUFFLED = BaselineScores(top1=0.94, top1_low=0.89, top1_high=0.97, log_loss=0.25, gain=0.01, gain_low=-0.01, gain_high=0.03)
DAMAGE = {"decoded": 70, "expected": 77, "repaired": 0, "at": 2.0, "complaint": "decoded 70 of 77 frames: damaged data at 2.0 s"}


@functools.cache
def some_params() -> Params:
    """The default configuration with few resamples, and with an archive whose address carries credentials."""
    with initialize_config_dir(str(CONF), version_base=None):
        content = OmegaConf.to_container(compose("config"), resolve=True)
    content["data"] |= {"name": "made", "archive": "https://someone:secret@example.org/made.zip?token=secret"}
    content["evaluate"]["bootstrap"] = 200
    return parse_params(content)


def _distributions(random: np.random.Generator, labels: np.ndarray, classes: int, skill: float) -> np.ndarray:
    """Softmax scores that favour the actual class by `skill`, and one similar class a little."""
    scores = random.normal(0, 1, (len(labels), classes))
    rows = np.arange(len(labels))
    scores[rows, labels] += skill * random.uniform(0.5, 1.3, classes)[labels]
    scores[rows, random.permutation(classes)[labels]] += 0.4 * min(skill, 6)
    chances = np.exp(scores)
    return (chances / chances.sum(1, keepdims=True)).astype(np.float32)


def write_results(
    root: Path,
    classes: list[str],
    *,
    skill: float = 6.0,
    leak: bool = False,
    skipped: int = 0,
    damaged: int = 0,
    validation: bool = True,
    groups: int = 7,
    clips: int = 4,
    suspects: int = 0,
) -> tuple[Path, Path]:
    """Writes data/ and results/ below `root`; returns both. Each class tests on `groups` groups of `clips` clips."""
    random = np.random.default_rng(7)
    params = some_params()
    data, results = root / "data", root / "results"
    sizes = {"test": groups, "train": 2 * groups, "validation": 2 if validation else 0}
    rows = []
    for label, name in enumerate(classes):
        numbers = itertools.count(1)
        for split, size in sizes.items():
            for group, clip in itertools.product([next(numbers) for _ in range(size)], range(clips)):
                stem = f"v_{name}_g{group:02d}_c{clip + 1:02d}"
                rows.append(
                    {
                        "clip": f"{name}/{stem}.avi",
                        "file": f"{name}/{stem}.avi",
                        "start": "",
                        "end": "",
                        "class": name,
                        "label": label,
                        "group": f"{name}_g{group:02d}",
                        "split": split,
                        "source": f"all/{stem}.avi",
                        "duplicate_of": "",
                        "bytes": 1000,
                        "sha256": hashlib.sha256(stem.encode()).hexdigest(),
                    }
                )
    manifest = pd.DataFrame(rows).sort_values("clip", ignore_index=True)
    if leak:  # the first training clip comes from a tested group, and is a copy of a tested clip
        train, test = (int(np.flatnonzero(manifest["split"] == split)[0]) for split in ("train", "test"))
        manifest.loc[train, ["group", "sha256"]] = manifest.loc[test, ["group", "sha256"]].to_numpy()
    data.mkdir(parents=True)
    write_manifest(manifest, data / "manifest.csv")

    lost = manifest[manifest["split"] == "train"].head(skipped)
    parts = {split: manifest[manifest["split"] == split].drop(lost.index, errors="ignore") for split in sizes}
    write_json(
        data / "frames/frames.json",
        {
            "classes": classes,
            "fps": 5.0,
            "size": 64,
            "quality": 95,
            "splits": {
                split: {
                    "clips": len(part),
                    "frames": 40 * len(part),
                    "groups": part["group"].nunique(),
                    "bytes": 1000 * len(part),
                    "frames_per_clip": {"min": 40, "median": 40, "max": 40} if len(part) else None,
                    "per_class": part["class"].value_counts().sort_index().to_dict(),
                    "files": [],
                }
                for split, part in parts.items()
            },
            "damaged": [
                {"clip": clip, "split": "test", **DAMAGE} for clip in manifest[manifest["split"] == "test"].head(damaged)["clip"]
            ],
            "skipped": [{"clip": clip, "split": "train", "reason": "no frame could be decoded"} for clip in lost["clip"]],
        },
    )
    scores, frames = {}, []
    for split in ("test", "validation"):
        part = parts[split]
        if len(part):
            labels = part["label"].to_numpy()
            chances = _distributions(random, labels, len(classes), skill)
            frames.append(predictions_frame(part["clip"], part["group"], split, labels, chances, classes))
            of_groups = part["group"].to_numpy(dtype=str)
            unknown = selective_scores(chances, labels, of_groups, classes, DECISION, params.evaluate, params.seed)
            scored = score(chances, labels, of_groups, params.evaluate, params.seed)
            scores[split] = scored.model_copy(update=unknown._asdict())
    write_predictions(results / "predictions.csv", *frames)
    largest = BaselineScores(top1=1 / len(classes), top1_low=0.0, top1_high=0.4, gain=0.6, gain_low=0.5, gain_high=0.7)
    baselines = Baselines(
        largest_class_name=classes[-1],
        largest_class=largest,
        clips=20,
        groups=10,
        one_view=ONE_VIEW,
        one_frame=ONE_FRAME,
        shuffled=SHUFFLED,
    )
    judged = LabelErrors(clips=len(manifest), judged=len(manifest) - 3, suspects=suspects, accuracy=0.925)
    Metrics(**scores, decision=DECISION, baselines=baselines, label_errors=judged).write(results / "metrics.json")
    named = manifest.head(suspects).rename(columns={"class": "given"})
    named = named.assign(suggested=classes[-1], p_given=0.125, p_suggested=0.75, quality=np.arange(suspects) / 100)
    write_suspects(results / "suspects.csv", named)
    held_out = [
        HeldOutClass(class_name=name, clips=20, groups=5, refused=number, coverage=0.9, accuracy=0.8, auroc=0.75, threshold=0.5)
        for number, name in enumerate(classes[:20])
    ]
    HeldOutClasses(method="a regression", of=len(classes), classes=held_out).write(results / "held_out.json")
    epochs = np.arange(1, 13)
    history = pd.DataFrame(
        {
            "epoch": epochs,
            "loss": 2.0 / epochs,
            "accuracy": 1 - 0.8 / epochs,
            "validation_loss": (2.2 / epochs + 0.06 * epochs) if validation else np.nan,
            "validation_accuracy": (0.92 - 0.8 / epochs) if validation else np.nan,
            "learning_rate": 0.001 * (1 + np.cos(np.pi * epochs / 12)) / 2,
            "seconds": 1.5,
            "examples_per_second": 800.0,
        }
    )
    history.to_csv(results / "history.csv", index=False)
    write_json(
        results / "run.json",
        {
            "run_id": "0123456789abcdef0123456789abcdef",
            "experiment": "made",
            "tracking_uri": "https://me:secret@mlflow.example.org",
        },
    )
    return data, results
