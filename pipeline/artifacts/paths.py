"""Where every file is that a stage makes, relative to the working directory of a stage."""

from pathlib import Path
from typing import Literal

CODE = ("stages", "pipeline")  # the folders of the code that decides results

CLIPS = Path("data/clips")  # download
MANIFEST = Path("data/manifest.csv")
FRAMES = Path("data/frames")  # extract
EMBEDDINGS = Path("data/embeddings")  # embed
REORDERED = "reordered"  # in the place of a split's name: test clips in each `FrameOrder`, in the place of their views
CLASSIFIER = Path("models/classifier")  # finetune
STARTING_PROBE = "starting_probe.npz"  # in CLASSIFIER, of a network whose training started from a probe: its last layer
TRAINING_RUN = Path("models/run.json")
HISTORY = Path("results/history.csv")
METRICS = Path("results/metrics.json")  # evaluate
SCORES = Path("results/scores.json")
PREDICTIONS = Path("results/predictions.csv")
HELD_OUT = Path("results/held_out.json")
SUSPECTS = Path("results/suspects.csv")
SHOWN_CLIPS = Path("results/clips")
RUN = Path("results/run.json")  # the MLflow run that report and export log to, too
EXPORT = Path("models/export")  # export
EXPORT_RESULTS = Path("results/export.json")
REPORT = Path("results/report")  # report
CARD = "model_card.md"  # in REPORT, and next to the files in EXPORT

Split = Literal["train", "validation", "test"]
