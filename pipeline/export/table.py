"""Formats the rows of export.json as a table for the terminal."""

from pipeline.artifacts import ExportRow

SAVED_MODEL = "saved_model"
_COLUMNS = ("format", "size", "test top-1", "interval", "lost", "agreement", "clear", "top 5", "drift", "ms a frame", "state")


def table(rows: list[ExportRow]) -> str:
    """Aligned lines, a row per exported file; missing values are dashes.

    `agreement`, `clear`, `top 5` and `drift` are over all frames of all views: see ExportRow.
    """
    cells = [_COLUMNS, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
    return "\n".join("  ".join(_padded(row, widths)).rstrip() for row in cells)


def _padded(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def _cells(row: ExportRow) -> tuple[str, ...]:
    low, high = row.test_top1_low, row.test_top1_high
    return (
        row.format,
        f"{row.bytes / 1e6:.2f} MB",
        f"{row.test_top1:.3f}",
        "–" if low is None else f"{low:.3f} to {high:.3f}",
        f"{row.accuracy_drop:+.3f}".replace("+0.000", "0.000").replace("-0.000", "0.000"),
        f"{row.agreement:.4f}",
        "–" if row.agreement_clear is None else f"{row.agreement_clear:.4f}",
        "–" if row.agreement_top5 is None else f"{row.agreement_top5:.4f}",
        "–" if row.confidence_drift is None else f"{row.confidence_drift:.4f}",
        "–" if row.milliseconds_a_frame is None else f"{row.milliseconds_a_frame:.2f}",
        "–" if row.state_bytes is None else f"{row.state_bytes / 1e6:.2f} MB",
    )
