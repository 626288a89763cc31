"""The report: one page with its figures and tables, made from the results files alone.

A person can judge a run from it without a notebook, and a changed plot never costs an evaluation: TensorFlow is not imported, and
the stage takes seconds. Equal inputs give equal files. The page is made in a child process while MLflow is imported in this one.
"""

import argparse
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from pipeline import tracking
from pipeline.artifacts import CARD
from pipeline.console import STARTS_OVER, run_command
from pipeline.files import atomic_folder, write_text
from pipeline.params import Params, load_params
from pipeline.reporting.inputs import read_inputs

DATA, RESULTS = Path("data"), Path("results")


def run(params: Params, *, data: Path = DATA, results: Path = RESULTS) -> Path:
    """Writes `results`/report, whole or not at all, and returns the path of its index.html.

    Reads manifest.csv and frames/frames.json of `data`, and metrics.json, predictions.csv, history.csv, run.json and export.json
    of `results`. The folder then holds the self-contained index.html, model_card.md, each figure as PNG and some tables as CSV.

    Raises:
      UserError: files are absent, broken or from different runs.
    """
    from pipeline.reporting.model_card import model_card
    from pipeline.reporting.page import write_report

    report = read_inputs(data, results, params.evaluate, params.report)
    with atomic_folder(results / "report") as folder:
        write_report(folder, report, params)
        write_text(folder / CARD, model_card(report, params))
    return results / "report" / "index.html"


def main() -> None:
    """Makes results/report/ from the results, logs it to the MLflow run they came from, and prints the page's path."""
    argparse.ArgumentParser(prog="python -m stages.report", description=main.__doc__).parse_args()
    params = load_params()
    # A new process, not a fork: libraries may have started threads here. An interrupt is this process's to handle.
    spawn, ignored = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(1, spawn, initializer=signal.signal, initargs=ignored) as child:
        page = child.submit(run, params)
        try:
            tracking.configure()
        finally:
            index = page.result()  # the report is there even if MLflow is not
    with tracking.stage_run(params, stage="report", run_file=RESULTS / "run.json") as tracked:
        tracked.log_artifacts(index.parent, "report")
        tracking.add_model_card(tracked, index.parent / CARD)
    print(index)


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
