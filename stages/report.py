"""The report: one page and its figures and tables, made of the results files alone.

It exists so that a person can judge a run without a notebook, and so that a changed plot never costs an evaluation: TensorFlow
is not imported, and the stage takes seconds. Equal inputs give equal files.
"""

import argparse
import math
from pathlib import Path

import pandas as pd

from pipeline import tracking
from pipeline.console import STARTS_OVER, progress, run_command
from pipeline.evaluation.metrics import confusion, most_confused, per_class, reliability
from pipeline.files import atomic_folder, write_text
from pipeline.params import Params, load_params
from pipeline.reporting import figures, page, tables
from pipeline.reporting.inputs import Inputs, read_inputs

DATA, RESULTS = Path("data"), Path("results")
WORST_MISTAKES = 20
_DIFFERING = 20  # packages of which versions are compared; the rest is counted
_LISTED = 50  # entries of a list of leaks; the rest is counted


def _pictures(inputs: Inputs, matrix, pairs: pd.DataFrame, bins: pd.DataFrame, best: int) -> dict[str, page.Picture]:
    drawings = {
        "confusion": (
            "Confusion matrix of the test clips, counts",
            lambda: figures.confusion_figure(matrix, inputs.classes, normalised=False),
        ),
        "confusion_normalised": (
            "Confusion matrix of the test clips, each row as shares of its class",
            lambda: figures.confusion_figure(matrix, inputs.classes, normalised=True),
        ),
        "learning_curves": (
            f"Loss, accuracy and learning rate over the epochs; epoch {best} was kept",
            lambda: figures.learning_curves_figure(inputs.history, best),
        ),
        "confused_pairs": ("The most confused pairs of classes", lambda: figures.confused_pairs_figure(pairs)),
        "reliability": (
            "Accuracy against confidence on the test clips",
            lambda: figures.reliability_figure(bins, inputs.metrics.test.ece),
        ),
    }
    return {
        name: page.Picture(f"{name}.png", alt, figures.png(draw()))
        for name, (alt, draw) in progress(drawings.items(), describe="report", unit="figure")
    }


def run(params: Params, *, data: Path = DATA, results: Path = RESULTS) -> Path:
    """Writes `results`/report, whole or not at all, and returns the path of its index.html.

    Reads manifest.csv and frames/frames.json of `data`, and metrics.json, predictions.csv, history.csv and run.json of `results`.
    The folder then holds index.html (self-contained), confusion.png, confusion_normalised.png, learning_curves.png,
    confused_pairs.png, reliability.png, confusion.csv, per_class.csv, confused_pairs.csv and test_labels.csv
    (for `dvc plots`). Raises UserError where the files are absent, broken or do not belong together.
    """
    inputs = read_inputs(data, results)
    test, classes = inputs.test, inputs.classes
    matrix = confusion(test.labels, test.predicted, len(classes))
    pairs = most_confused(matrix, classes, params.report.confused_pairs)
    bins = reliability(test.probabilities, test.labels, params.evaluate.bins)
    best = tables.best_epoch(inputs.history)
    leaks = tables.find_leaks(inputs)
    pictures = _pictures(inputs, matrix, pairs, bins, best)
    html = page.render(
        params=params,
        classes=classes,
        metrics=inputs.metrics,
        certainty=page.certainty(inputs.metrics.test, params.evaluate.confidence, params.evaluate.bootstrap),
        warnings=page.warnings(leaks),
        majority=tables.majority_share(test),
        even_loss=math.log(len(classes)),
        pictures=pictures,
        best=inputs.history[inputs.history["epoch"] == best].iloc[0],
        epochs=len(inputs.history),
        seconds=float(inputs.history["seconds"].sum()),
        per_class=tables.class_table(inputs).to_dict("records"),
        pairs=pairs.to_dict("records"),
        mistakes=tables.worst_mistakes(test, WORST_MISTAKES).to_dict("records"),
        wrong=int((test.labels != test.predicted).sum()),
        splits=tables.split_table(inputs).to_dict("records"),
        frames=inputs.frames,
        leaks=leaks,
        listed=_LISTED,
        run=inputs.run,
        export=inputs.export,
        configuration=page.configuration(params),
        made_with=page.made_with(inputs.run),
        differing=_DIFFERING,
    )
    with atomic_folder(results / "report") as folder:
        for picture in pictures.values():
            (folder / picture.file).write_bytes(picture.content)
        pd.DataFrame(matrix, index=pd.Index(classes, name="actual"), columns=classes).to_csv(folder / "confusion.csv")
        per_class(test.labels, test.predicted, classes).to_csv(folder / "per_class.csv", index=False)
        pairs.to_csv(folder / "confused_pairs.csv", index=False)
        labels = {"actual": [classes[label] for label in test.labels], "predicted": [classes[label] for label in test.predicted]}
        pd.DataFrame(labels).to_csv(folder / "test_labels.csv", index=False)
        write_text(folder / "index.html", html)
    return results / "report" / "index.html"


def main() -> None:
    """Makes results/report/ of the results, adds it to the MLflow run they came from, and prints the page's path."""
    argparse.ArgumentParser(prog="python -m stages.report", description=main.__doc__).parse_args()
    params = load_params()
    index = run(params)
    with tracking.stage_run(params, stage="report", run_file=RESULTS / "run.json") as tracked:
        tracked.log_artifacts(index.parent, "report")
    print(index)


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
