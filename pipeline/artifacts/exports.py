"""What export writes: results/export.json."""

from pathlib import Path

from pipeline.artifacts.content import Artifact
from pipeline.files import read_json, write_json


class ExportRow(Artifact):
    """One exported file and how it fared on the test clips.

    Attributes:
      accuracy_drop: top-1 of the network less that of the file.
      agreement: part of all frames of all views after which the file puts the same class first as the network; agreement_at_end:
        after the last frames of the views; agreement_by_frame: after the first, the second, ...; agreement_top5: the network's
        class is among the file's five most probable; agreement_clear: of the frames where the network's two highest probabilities
        differ by 0.1 or more.
      confidence_drift: mean absolute difference of the probability of the network's class.
      frames: of all views together. milliseconds_a_frame: median, with `threads`. state_bytes: kept between frames.
      note: to the reader.
      run_id: the MLflow run whose classifier was exported.
    """

    format: str
    file: str
    bytes: int
    test_top1: float
    clips: int
    groups: int
    accuracy_drop: float
    agreement: float
    test_top1_low: float | None = None
    test_top1_high: float | None = None
    agreement_at_end: float | None = None
    agreement_by_frame: list[float] | None = None
    agreement_top5: float | None = None
    agreement_clear: float | None = None
    confidence_drift: float | None = None
    frames: int | None = None
    milliseconds_a_frame: float | None = None
    threads: int | None = None
    state_bytes: int | None = None
    note: str | None = None
    run_id: str | None = None


def read_export(path: Path) -> list[ExportRow]:
    """Reads results/export.json: a row a file; none where nothing was exported."""
    return [ExportRow.parse(row, path) for row in read_json(path)]


def write_export(path: Path, rows: list[ExportRow]) -> None:
    write_json(path, [row.model_dump(exclude_none=True) for row in rows])
