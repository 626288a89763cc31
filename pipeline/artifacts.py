"""Every file that a stage makes, by its path. Stages and commands refer to each other's files through this module only.

Paths are relative to the working directory of a stage: the repository, or the copy of it in which DVC runs an experiment.
"""

from pathlib import Path

from pipeline.files import read_json

CODE = ("stages", "pipeline")  # the folders of the code that decides results

CLIPS = Path("data/clips")  # download
MANIFEST = Path("data/manifest.csv")
FRAMES = Path("data/frames")  # extract
EMBEDDINGS = Path("data/embeddings")  # embed
CLASSIFIER = Path("models/classifier")  # finetune
TRAINING_RUN = Path("models/run.json")
HISTORY = Path("results/history.csv")
METRICS = Path("results/metrics.json")  # evaluate
PREDICTIONS = Path("results/predictions.csv")
RUN = Path("results/run.json")  # the MLflow run that report and export land on, too
EXPORT = Path("models/export")  # export
EXPORT_RESULTS = Path("results/export.json")
REPORT = Path("results/report")  # report


def is_cached(embeddings: Path) -> bool:
    """Whether a folder that embed wrote holds features, that is, whether the backbone is frozen."""
    return read_json(Path(embeddings) / "embed.json")["mode"] == "cached"
