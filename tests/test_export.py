"""The export stage: what it writes for base and stream networks, and that a bad export writes nothing."""

import numpy as np
import pytest

from pipeline.artifacts import ClassifierDescription, ExportRow, FramesSummary, Metrics, Scores, SplitFrames
from pipeline.console import UserError
from pipeline.export import measure
from pipeline.export.measure import Agreement
from pipeline.params import parse_params
from stages import export
from tests.export.test_convert import CLASSES, SIZE, clips
from tests.test_params import composed

pytestmark = pytest.mark.xdist_group("exporting")
DESCRIBED = {"classes": CLASSES, "fps": 5.0, "size": SIZE, "count": 3, "views": 2, "trainable": "head"}
INTERVALS = {f"{name}_{end}": value for name in ("top1", "top5", "macro_f1") for end, value in (("low", 0.8), ("high", 1.0))}
TEST = Scores(top1=0.9, top5=1.0, macro_f1=0.9, log_loss=0.3, ece=0.1, clips=120, groups=40, **INTERVALS)


def params(*overrides: str):
    options = ("data=ucf101_subset", f"frames.size={SIZE}", "frames.count=3", "evaluate.bootstrap=100", *overrides)
    return parse_params(composed("model=a0_stream_relu6", *options))


def card(rows: list[ExportRow]) -> str:
    return " ".join(row.format for row in rows)


def base_classifier(folder):
    (folder / "classifier/saved_model/variables").mkdir(parents=True)
    (folder / "classifier/saved_model/saved_model.pb").write_bytes(b"x" * 100)
    (folder / "classifier/saved_model/variables/v").write_bytes(b"y" * 11)
    ClassifierDescription(model="a0", **DESCRIBED).write(folder / "classifier/classifier.json")
    Metrics(test=TEST).write(folder / "metrics.json")
    return {"classifier": folder / "classifier", "metrics": folder / "metrics.json", "out": folder / "export", "card": card}


def test_of_a_base_network_the_evaluated_saved_model_is_exported(tmp_path, capsys):
    (row,) = export.run(params(), **base_classifier(tmp_path))
    assert (row.format, row.file, row.bytes) == ("saved_model", "saved_model", 111)
    assert (row.test_top1, row.clips) == (0.9, 120)
    assert "model=a0_stream" in row.note and "model=a0_stream" in capsys.readouterr().err
    assert [path.name for path in sorted((tmp_path / "export").iterdir())] == ["model_card.md", "saved_model"]


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """A classifier's folder, and records of 12 training and 12 test clips. The checkpoint is read only once."""
    import cv2
    import tensorflow as tf

    from pipeline.models.movinet import stream as streaming
    from pipeline.models.movinet.network.weights.copying import write_checkpoint_state
    from pipeline.video.records import serialize_clip, write_shard
    from tests.models.movinet.small import small_variants
    from tests.models.movinet.test_streaming import lively

    folder = tmp_path_factory.mktemp("stream")
    (folder / "classifier").mkdir()
    ClassifierDescription(model="a0_stream_relu6", **DESCRIBED).write(folder / "classifier/classifier.json")
    with small_variants():
        tf.train.Checkpoint(model=lively("a0_stream_relu6")).write(str(folder / "classifier/ckpt-1"))
        write_checkpoint_state(folder / "classifier/ckpt-1")
        opened = streaming.open_stream(folder / "classifier", ClassifierDescription.of(folder / "classifier"))
    splits = {}
    for seed, split in enumerate(("train", "test")):
        records = []
        for number, clip in enumerate(clips(12, seed=seed)):
            jpegs = [cv2.imencode(".jpg", np.uint8(255 * frame))[1].tobytes() for frame in clip]
            label, times = number % 3, list(range(len(jpegs)))
            records.append(serialize_clip(f"{split}{number}", label, CLASSES[label], f"g{number}", jpegs, times))
        write_shard(folder / f"frames/{split}.tfrecord", records)
        splits[split] = SplitFrames(
            clips=12, frames=36, groups=12, bytes=1, frames_per_clip=None, per_class={}, files=[f"{split}.tfrecord"]
        )
    summary = FramesSummary(classes=CLASSES, fps=5.0, size=SIZE, quality=95, splits=splits, skipped=[], damaged=[])
    summary.write(folder / "frames/frames.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "open_stream", lambda *arguments: opened)
        yield {"frames": folder / "frames", "classifier": folder / "classifier", "metrics": folder / "none"}


def test_a_classifier_trained_with_other_views_is_refused(stream, tmp_path):
    with pytest.raises(UserError, match="made with count 3, but now it is 4"):
        export.run(params("frames.count=4"), **stream, out=tmp_path / "export", card=card)


@pytest.mark.slow
def test_of_a_stream_network_every_file_is_measured(stream, tmp_path):
    reported = []
    rows = export.run(
        params("export.formats=[float32,dynamic]"), **stream, out=tmp_path / "export", card=card, on_rows=reported.extend
    )
    assert reported == rows
    assert [row.format for row in rows] == ["saved_model", "float32", "dynamic"]
    saved, plain, dynamic = rows
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == [
        "dynamic.tflite",
        "float32.tflite",
        "model_card.md",
        "saved_model",
    ]
    assert (tmp_path / "export/model_card.md").read_text() == "saved_model float32 dynamic"
    assert plain.bytes == (tmp_path / "export/float32.tflite").stat().st_size > 2 * dynamic.bytes
    assert plain.agreement == saved.agreement == 1 and plain.accuracy_drop == 0
    assert saved.agreement_by_frame == [1, 1, 1] and saved.confidence_drift == 0 < dynamic.confidence_drift < 0.1
    assert plain.confidence_drift < 1e-4 and saved.agreement_top5 is None  # of six classes or more
    assert saved.frames == 12 * 2 * 3 and saved.clips == 12
    assert all(row.milliseconds_a_frame > 0 and row.state_bytes == saved.state_bytes > 0 for row in rows)
    low, high = saved.test_top1_low, saved.test_top1_high
    assert 0 <= low <= saved.test_top1 <= high <= 1


@pytest.mark.slow
def test_if_a_file_loses_too_much_accuracy_nothing_is_written(stream, tmp_path, monkeypatch):
    accuracies = iter([0.9, 0.9, 0.5])
    monkeypatch.setattr(export, "score", lambda *arguments: TEST.model_copy(update={"top1": next(accuracies)}))
    monkeypatch.setattr(measure, "_summarize", lambda *arguments: Agreement([0.25, 0.5, 0.75], 0.9, None, 0.1))
    reported = []
    with pytest.raises(UserError, match=r"max_accuracy_drop = 0\.01: dynamic\.tflite 0\.400, so nothing was exported"):
        export.run(
            params("export.formats=[float32,dynamic]"), **stream, out=tmp_path / "export", card=card, on_rows=reported.extend
        )
    assert [row.test_top1 for row in reported] == [0.9, 0.9, 0.5]
    for row in reported:
        assert (row.agreement, row.agreement_at_end, row.agreement_by_frame) == (0.5, 0.75, [0.25, 0.5, 0.75])
        assert (row.agreement_top5, row.agreement_clear, row.confidence_drift) == (0.9, None, 0.1)
    assert not list(tmp_path.iterdir())


def test_the_loss_of_one_clip_is_accepted_that_of_two_is_not():
    def row(drop: float) -> ExportRow:
        known = {"format": "int8", "file": "int8.tflite", "bytes": 1, "clips": 50, "groups": 9, "agreement": 1.0}
        return ExportRow(**known, test_top1=0.9, test_top1_low=None, test_top1_high=None, accuracy_drop=drop)

    export._check_accuracy([row(1 / 50)], 0.01)
    with pytest.raises(UserError, match=r"int8\.tflite 0\.040"):
        export._check_accuracy([row(2 / 50)], 0.01)
    export._check_accuracy([row(2 / 50)], 0.05)
