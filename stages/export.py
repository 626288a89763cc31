"""Exports the classifier: a SavedModel and, where it runs frame by frame, TensorFlow Lite files, each measured on the test split.

Of a network that needs whole clips there is the SavedModel alone. Written: `models/export` and `results/export.json`, a row a
file; neither where a file lost more accuracy than `export.max_accuracy_drop` allows. Without `export.formats`, the default,
nothing is exported: most experiments need no such files.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline import tracking
from pipeline.artifacts import (
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
from pipeline.files import atomic_folder
from pipeline.inference.stepper import one_thread
from pipeline.models.family import open_stream, settings_of
from pipeline.params import Params, load_params
from pipeline.video.sampling import Sampling

NOTHING = "Nothing was exported, as export.formats is empty. `dvc exp run -S export=tflite` exports.\n"


def run(
    params: Params,
    *,
    frames: Path = FRAMES,
    classifier: Path = CLASSIFIER,
    metrics: Path = METRICS,
    out: Path = EXPORT,
    on_rows: Callable[[list[ExportRow]], None] = lambda rows: None,
) -> list[ExportRow]:
    """Writes `out`, whole or not at all; returns its files as rows of export.json.

    Args:
      metrics: of `evaluate`, for a network of whole clips, whose exported SavedModel is the one that was evaluated.
      on_rows: called with the rows before anything is refused.

    Raises:
      UserError: a file loses more accuracy than export.max_accuracy_drop allows, or a split has no clips.
    """
    description = ClassifierDescription.of(classifier)
    with atomic_folder(out) as part:
        if settings_of(description).streams:
            rows = _stream_rows(params, description, frames, classifier, part)
        else:
            rows = _clip_rows(description, classifier, Metrics.read(metrics).test, part)
        on_rows(rows)
        _refuse(rows, params.export.max_accuracy_drop)
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
        f"{description.model} sees whole clips, so that there is this SavedModel of whole clips alone; for TensorFlow Lite and "
        f"frame by frame {settings_of(description).to_stream}"
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
    for key, made, asked in (("count", sampling.count, params.frames.count), ("size", sampling.size, params.frames.size)):
        if made != asked:
            raise UserError(f"{classifier}: made with {key} {made}, but now it is {asked}", advice="run `dvc repro`")

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
    found = predict_streams(streams, clips_of("test", description.views).as_numpy_iterator(), total, "streaming the test clips")
    labels, groups = np.array(found.labels), np.array(found.groups)
    times = time_steps(streams, calibration[0][0])
    scores = {name: score(each, labels, groups, params.evaluate, params.seed) for name, each in found.probabilities.items()}
    agreements = {name: found.agreement_by_frame(SAVED_MODEL, name) for name in streams}
    return [
        _row(
            name,
            part / (SAVED_MODEL if name == SAVED_MODEL else f"{name}.tflite"),
            scores[name],
            accuracy_drop=scores[SAVED_MODEL].top1 - scores[name].top1,
            agreement=float(np.mean(agreements[name])),
            agreement_at_end=agreements[name][-1],
            agreement_by_frame=agreements[name],
            frames=found.top1_by_frame[name].size,
            milliseconds_a_frame=times[name],
            threads=1,
            state_bytes=stream.state_bytes,
        )
        for name, stream in streams.items()
    ]


def _refuse(rows: list[ExportRow], allowed: float) -> None:
    """Raises UserError where a file's accuracy falls too far; one clip more or less is no reason, however few there are."""
    wrong = [row for row in rows if row.accuracy_drop > max(allowed, 1 / row.clips) + 1e-9]
    if wrong:
        lost = ", ".join(f"{row.file} {row.accuracy_drop:.3f}" for row in wrong)
        raise UserError(
            f"test accuracy lost beyond export.max_accuracy_drop = {allowed:g}: {lost}, so nothing was exported",
            advice="leave the format out (-S 'export.formats=[float32,float16]'), calibrate on more (export.calibration_clips), "
            "or allow more",
        )


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.export", description=__doc__.splitlines()[0]).parse_args()
    params = load_params()
    if not params.export.formats:
        with atomic_folder(EXPORT) as part:
            (part / "README.txt").write_text(NOTHING)
            write_export(EXPORT_RESULTS, [])
        return
    one_thread()
    with tracking.stage_run(params, "export", RUN) as tracked:
        rows = run(params, on_rows=lambda rows: say(table(rows)))
        run_id = RunRecord.read(RUN).run_id
        write_export(EXPORT_RESULTS, [row.model_copy(update={"run_id": run_id}) for row in rows])
        tracked.log_metrics({"export": {row.format: row.model_dump(exclude_none=True) for row in rows}})
        tracked.log_artifacts(EXPORT, "export")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
