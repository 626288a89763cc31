"""Exports the classifier as a SavedModel and, if it runs frame by frame, TensorFlow Lite files; measures each on the test split.

A network of whole clips is exported only as a SavedModel. Outputs: `models/export`, and `results/export.json`, a row per file. If
a file loses more accuracy than `export.max_accuracy_drop`, the stage fails and writes neither. The files carry the report's
model_card.md, so that whoever receives the folder knows what they are. By default `export.formats` is empty and nothing is
exported, because most experiments do not need these files.
"""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline import tracking
from pipeline.artifacts import (
    CARD,
    CLASSIFIER,
    EXPORT,
    EXPORT_RESULTS,
    FRAMES,
    METRICS,
    RUN,
    ClassifierDescription,
    ExportRow,
    FramesSummary,
    Metrics,
    RunRecord,
    Scores,
    write_export,
)
from pipeline.console import STARTS_OVER, UserError, run_command, say
from pipeline.evaluation.metrics import score
from pipeline.export.table import SAVED_MODEL, table
from pipeline.files import atomic_folder, write_text
from pipeline.inference.stepper import one_thread
from pipeline.models.family import open_stream, settings_of
from pipeline.params import Params, load_params
from pipeline.video.sampling import Sampling

DATA, RESULTS = Path("data"), Path("results")
NOTHING = "Nothing was exported, because export.formats is empty. To export, run `dvc exp run -S export=tflite`.\n"


def run(
    params: Params,
    *,
    frames: Path = FRAMES,
    classifier: Path = CLASSIFIER,
    metrics: Path = METRICS,
    out: Path = EXPORT,
    on_rows: Callable[[list[ExportRow]], None] = lambda rows: None,
    card: Callable[[list[ExportRow]], str],
) -> list[ExportRow]:
    """Writes `out` atomically; returns the rows of export.json, one per file.

    Args:
      metrics: written by evaluate; used for a network of whole clips, whose SavedModel has already been evaluated.
      on_rows: called with the rows before the accuracy is checked.
      card: returns the model card for the rows.

    Raises:
      UserError: a file loses more accuracy than export.max_accuracy_drop, or a split has no clips.
    """
    description = ClassifierDescription.of(classifier)
    with atomic_folder(out) as part:
        if settings_of(description).streams:
            rows = _stream_rows(params, description, frames, classifier, part)
        else:
            rows = _clip_rows(description, classifier, Metrics.read(metrics).test, part)
        on_rows(rows)
        _check_accuracy(rows, params.export.max_accuracy_drop)
        write_text(part / CARD, card(rows))
    return rows


def _row(format: str, path: Path, test: Scores, **more) -> ExportRow:
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
    return ExportRow(
        format=format,
        file=path.name,
        bytes=sum(file.stat().st_size for file in files),
        test_top1=test.top1,
        test_top1_low=test.top1_low,
        test_top1_high=test.top1_high,
        clips=test.clips,
        groups=test.groups,
        **more,
    )


def _clip_rows(description: ClassifierDescription, classifier: Path, test: Scores, part: Path) -> list[ExportRow]:
    shutil.copytree(classifier / "saved_model", part / SAVED_MODEL)
    note = (
        f"{description.model} needs whole clips, so only this SavedModel of whole clips was exported; for TensorFlow Lite and "
        f"frame by frame {settings_of(description).streaming_advice}"
    )
    say(note)
    return [_row(SAVED_MODEL, part / SAVED_MODEL, test, agreement=1.0, accuracy_drop=0.0, note=note)]


def _stream_rows(
    params: Params, description: ClassifierDescription, frames: Path, classifier: Path, part: Path
) -> list[ExportRow]:
    from pipeline.export.convert import convert
    from pipeline.export.measure import predict_streams, time_steps
    from pipeline.export.saved import save_streaming
    from pipeline.inference.lite import LiteClassifier
    from pipeline.inference.saved_stream import SavedStream
    from pipeline.training.datasets import test_clips

    summary, sampling = FramesSummary.of(frames), Sampling.of(description)
    for key, trained_with, current in (
        ("count", sampling.count, params.frames.count),
        ("size", sampling.size, params.frames.size),
    ):
        if trained_with != current:
            message = f"{classifier}: made with {key} {trained_with}, but now it is {current}"
            raise UserError(message, advice="run `dvc repro`")

    def clips_of(split: str, views: int):
        return test_clips(summary.files(frames, split), views, sampling)

    network = open_stream(classifier, description)
    save_streaming(network, part / SAVED_MODEL)
    calibration = [clip["views"][0] for clip in clips_of("train", 1).take(params.export.calibration_clips).as_numpy_iterator()]
    for format in params.export.formats:
        say(f"converting to {format}")
        (part / f"{format}.tflite").write_bytes(convert(network, format, calibration))

    streams = {SAVED_MODEL: SavedStream(part / SAVED_MODEL)}
    streams |= {format: LiteClassifier(part / f"{format}.tflite") for format in params.export.formats}
    total = summary.splits["test"].clips
    clips = clips_of("test", description.views).as_numpy_iterator()
    predictions = predict_streams(streams, clips, total, "streaming the test clips", reference=SAVED_MODEL)
    labels, groups = np.array(predictions.labels), np.array(predictions.groups)
    times = time_steps(streams, calibration[0][0])
    scores = {
        name: score(probabilities, labels, groups, params.evaluate, params.seed)
        for name, probabilities in predictions.probabilities.items()
    }
    agreements = predictions.agreement
    return [
        _row(
            name,
            part / (SAVED_MODEL if name == SAVED_MODEL else f"{name}.tflite"),
            scores[name],
            accuracy_drop=scores[SAVED_MODEL].top1 - scores[name].top1,
            agreement=float(np.mean(agreements[name].by_frame)),
            agreement_at_end=agreements[name].by_frame[-1],
            agreement_by_frame=agreements[name].by_frame,
            agreement_top5=agreements[name].among_top5,
            agreement_clear=agreements[name].clear,
            confidence_drift=agreements[name].confidence_drift,
            frames=predictions.frames,
            milliseconds_a_frame=times[name],
            threads=1,
            state_bytes=stream.state_bytes,
        )
        for name, stream in streams.items()
    ]


def _check_accuracy(rows: list[ExportRow], allowed: float) -> None:
    """Raises UserError if a file loses more accuracy than `allowed`. The loss of a single clip is always accepted."""
    failed = [row for row in rows if row.accuracy_drop > max(allowed, 1 / row.clips) + 1e-9]
    if failed:
        lost = ", ".join(f"{row.file} {row.accuracy_drop:.3f}" for row in failed)
        raise UserError(
            f"test accuracy lost beyond export.max_accuracy_drop = {allowed:g}: {lost}, so nothing was exported",
            advice="leave the format out (-S 'export.formats=[float32,float16]'), calibrate on more clips "
            "(export.calibration_clips), or increase export.max_accuracy_drop",
        )


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.export", description=__doc__.splitlines()[0]).parse_args()
    params = load_params()
    if not params.export.formats:
        with atomic_folder(EXPORT) as part:
            (part / "README.txt").write_text(NOTHING)
            write_export(EXPORT_RESULTS, [])
        return
    from pipeline.reporting.inputs import read_inputs  # imports Matplotlib, which only an export needs
    from pipeline.reporting.model_card import model_card

    one_thread()
    inputs = read_inputs(DATA, RESULTS, params.evaluate, params.report, export=[])
    with tracking.stage_run(params, "export", RUN) as tracked:
        rows = run(
            params, on_rows=lambda rows: say(table(rows)), card=lambda rows: model_card(replace(inputs, export=rows), params)
        )
        run_id = RunRecord.read(RUN).run_id
        write_export(EXPORT_RESULTS, [row.model_copy(update={"run_id": run_id}) for row in rows])
        tracked.log_metrics({"export": {row.format: row.model_dump(exclude_none=True) for row in rows}})
        tracked.log_artifacts(EXPORT, "export")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
