"""What is written is read again, also where a value is absent: scores of one group have no interval."""

from pipeline.artifacts import ExportRow, Metrics, Scores, ScoresSummary, read_export, write_export


def test_exported_files_without_an_interval(tmp_path):
    row = ExportRow(
        format="float32",
        file="float32.tflite",
        bytes=9,
        test_top1=0.5,
        test_top1_low=None,
        test_top1_high=None,
        clips=4,
        groups=1,
        accuracy_drop=0.0,
        agreement=1.0,
    )
    write_export(tmp_path / "export.json", [row])
    assert read_export(tmp_path / "export.json") == [row]


def test_metrics_without_intervals(tmp_path):
    required = {name: 1 for name, field in Scores.model_fields.items() if field.is_required()}
    scores = Scores(**required | {name: None for name in required if name.endswith(("_low", "_high"))})
    Metrics(test=scores).write(tmp_path / "metrics.json")
    assert Metrics.read(tmp_path / "metrics.json") == Metrics(test=scores)


def test_the_summary_has_the_main_scores_of_both_splits():
    required = {name: number for number, (name, field) in enumerate(Scores.model_fields.items()) if field.is_required()}
    test = Scores(**required)
    summary = ScoresSummary.of(Metrics(test=test, validation=test.model_copy(update={"top1": 0.25})))
    for name in ("top1", "top1_low", "top1_high", "macro_f1", "log_loss", "ece"):
        assert getattr(summary.test, name) == getattr(test, name)
    assert summary.validation.top1 == 0.25
    assert len(summary.model_dump()["test"]) == 6
    assert ScoresSummary.of(Metrics(test=test)).validation is None
