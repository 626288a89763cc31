"""The command as a user runs it: predictions, streams, pictures and errors."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pipeline.inference.formats as formats
from commands import predict
from commands.predict import PredictionRun
from pipeline.artifacts import CLASSIFIER, ClassifierDescription
from pipeline.console import UserError
from pipeline.inference.formats import open_model
from pipeline.inference.models import UnknownRule
from pipeline.params import parse_params
from pipeline.tracking import begin_run, log_classifier
from tests.inference.small import CLASSES, DECISION, streaming, whole_clips, write_classifier, write_video
from tests.tracking_store import composed, empty_database, place, store  # noqa: F401

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return write_classifier(tmp_path_factory.mktemp("models") / "classifier")


@pytest.fixture
def videos(tmp_path):
    """Three videos, the one in the middle broken."""
    write_video(tmp_path / "videos/a.avi", [20] * 7)
    write_video(tmp_path / "videos/c.avi", [230] * 9)
    (tmp_path / "videos/b.avi").write_bytes(b"no video")
    return tmp_path / "videos"


def command(*arguments, cwd=ROOT):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "commands.predict", *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True
    )


def run(predictor, names, **options):
    lines = []
    failed = PredictionRun(predictor, emit=lines.append, **options).run([str(name) for name in names])
    return lines, failed


def test_the_command_classifies_every_video_and_reports_broken_ones(classifier, videos):
    done = command(videos, "--model", classifier, "--format", "csv", "--top", "2")
    assert done.returncode == 1
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [Path(row["source"]).name for row in rows] == ["a.avi", "b.avi", "c.avi"]
    assert [row["class_1"] for row in rows] == ["Dark", "", "Bright"]
    assert [row["frames"] for row in rows] == ["7", "", "9"]
    assert float(rows[0]["probability_1"]) > 0.9
    assert "FFmpeg cannot read it" in rows[1]["error"]
    assert f"error: {videos}/b.avi: FFmpeg cannot read it" in done.stderr
    assert f"model: {classifier} (a0, 3 classes), 5 frames a second of 32x32 pixels" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_succeeds_for_a_single_video(classifier, videos, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["predict", str(videos / "a.avi"), "--model", str(classifier), "--top", "99"])
    predict.main()
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"{videos}/a.avi  (1.4 s, 7 frames)" and lines[1].split()[0] == "Dark" and len(lines) == 1 + len(CLASSES)
    assert "classifying" not in err  # no progress bar for a single video


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.mp4", "--model", "m", "--pretrained", "a0"], "--model names a classifier"),
        (["x.mp4", "--top", "0"], "'0' is not a whole number of at least 1"),
        (["x.mp4", "--reconnect", "-1"], "'-1' is not a number of at least 0"),
        (["x.mp4", "--seconds", "nan"], "'nan' is not a number above 0"),
        (["x.mp4", "--animate", "x.webm"], "'x.webm' should end with .gif, .mp4, .png"),
        (["x.mp4", "--pretrained", "b0"], "invalid choice: 'b0'"),
        ([], "SOURCE"),
    ],
)
def test_invalid_arguments_are_rejected_before_a_model_is_opened(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["predict", *arguments])
    monkeypatch.setattr(predict, "open_model", lambda *given, **more: pytest.fail("a model was opened"))
    with pytest.raises(SystemExit) as caught:
        predict.main()
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_number_of_views_can_be_set(classifier, videos, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(predict, "open_model", lambda *given, **more: opened.append(open_model(str(classifier))) or opened[0])
    monkeypatch.setattr(sys, "argv", ["predict", str(videos / "a.avi"), "--views", "3"])
    predict.main()
    assert len(opened[0].view_indices(100)) == 3


def test_json_has_a_record_for_a_missing_source_and_the_others_are_classified(videos, tmp_path, capsys):
    lines, failed = run(whole_clips(None), [tmp_path / "none.avi", videos / "c.avi"], form="json", top=1)
    records = [json.loads(line) for line in lines]
    assert failed == 1
    assert records[0]["source"].endswith("none.avi") and "no such file" in records[0]["error"]
    assert records[1]["top"][0]["class"] == "Bright"
    assert "none.avi: there is no such file or folder" in capsys.readouterr().err


def test_only_the_first_seconds_are_classified(tmp_path):
    path = write_video(tmp_path / "v.avi", [20] * 10 + [250] * 30)
    assert json.loads(run(whole_clips(None), [path], form="json", seconds=2.0)[0][0])["top"][0]["class"] == "Dark"
    assert json.loads(run(whole_clips(None), [path], form="json")[0][0])["top"][0]["class"] == "Bright"


def test_a_stream_gives_a_prediction_after_each_frame(tmp_path):
    path = write_video(tmp_path / "v.avi", [20] * 5 + [250] * 15)
    lines, failed = run(streaming(), [path], form="json", stream=True, top=2)
    records = [json.loads(line) for line in lines]
    assert failed == 0 and [record["seconds"] for record in records] == [round(0.2 * k, 3) for k in range(20)]
    assert [record["class"] for record in records[:5]] == ["Dark"] * 5 and records[-1]["class"] == "Bright"
    assert all(record["top"][0] == {"class": record["class"], "probability": record["probability"]} for record in records)
    text, _ = run(streaming(), [path], stream=True)
    assert re.fullmatch(r"   0\.20 s   99\.\d%  Dark", text[1])
    table, _ = run(streaming(), [path], stream=True, form="csv")
    assert table[0] == "source,seconds,class,probability" and len(table) == 21


def test_states_are_reset_for_every_stream_and_broken_ones_are_reported(videos, capsys):
    lines, failed = run(streaming(), [videos], stream=True)
    assert failed == 1 and "b.avi: FFmpeg cannot read it" in capsys.readouterr().err
    assert lines[0].endswith("a.avi") and lines[8].endswith("b.avi") and lines[9].endswith("c.avi")
    assert lines[10].endswith("Bright")


def test_a_stream_can_be_reset_every_few_seconds(tmp_path):
    path = write_video(tmp_path / "v.avi", [20] * 10 + [250] * 10)
    seen, _ = run(streaming(), [path], stream=True, restart=2.0)
    assert [line.split()[-1] for line in seen] == ["Dark"] * 10 + ["Bright"] * 10


def test_a_base_model_cannot_stream(tmp_path, videos):
    def stream():
        raise UserError("a0 is a base model")

    for options in ({"stream": True}, {"animate": tmp_path / "x.gif"}):
        with pytest.raises(UserError, match="a0 is a base model"):
            run(whole_clips(stream), [videos / "a.avi"], **options)
    assert not (tmp_path / "x.gif").exists()


class Camera:
    """A live source that yields frames until the user presses Ctrl-C."""

    name, live = "camera:0", True

    def __init__(self, gap):
        self.gap = gap

    def frames(self, fps, size):
        for number in range(30):
            yield int(number * self.gap * 1e6), np.full((size, size, 3), 20 if number < 20 else 250, np.uint8)
        raise KeyboardInterrupt


def test_a_camera_streams_until_it_is_interrupted(monkeypatch, tmp_path):
    monkeypatch.setattr(predict, "find_sources", lambda name, *options: [Camera(0.2)])
    lines, failed = run(streaming(), ["camera:0"], stream=True, animate=tmp_path / "c.png")
    assert failed == 0 and len(lines) == 30
    assert (tmp_path / "c.png").exists()
    lines, _ = run(streaming(), ["camera:0"], stream=True, seconds=1.0)
    assert len(lines) == 5
    # Reset after ten seconds: without a reset it would take several seconds until the bright frames outweigh the dark ones.
    monkeypatch.setattr(predict, "find_sources", lambda name, *options: [Camera(0.5)])
    lines, _ = run(streaming(), ["camera:0"], stream=True)
    assert lines[20].endswith("Bright")
    with pytest.raises(UserError, match="camera:0: has no end; use --stream"):
        run(streaming(), ["camera:0"])


def test_interrupting_any_other_source_ends_the_command(monkeypatch):
    camera = Camera(0.2)
    camera.live = False
    monkeypatch.setattr(predict, "find_sources", lambda name, *options: [camera])
    with pytest.raises(KeyboardInterrupt):
        run(streaming(), ["x.avi"], stream=True)


def test_a_picture_is_drawn_in_addition_to_the_prediction(tmp_path, videos, capsys):
    lines, failed = run(streaming(), [videos / "c.avi"], animate=tmp_path / "new/out.png")
    assert failed == 0 and lines[0].split("\n")[1].split()[0] == "Bright"
    assert (tmp_path / "new/out.png").read_bytes().startswith(b"\x89PNG")
    assert "drawn: " in capsys.readouterr().err


def test_pictures_are_of_a_single_source_and_limited_in_length(tmp_path, videos, monkeypatch, capsys):
    out = tmp_path / "out.gif"
    with pytest.raises(UserError, match="draws a single source, but 3 are given"):
        run(streaming(), [videos], animate=out)
    with pytest.raises(UserError, match="draws a single source, but 2 are given"):
        run(streaming(), [videos / "a.avi", videos / "c.avi"], animate=out)
    monkeypatch.setattr(predict, "MAX_ANIMATED", 5)
    _, failed = run(streaming(), [videos / "a.avi"], animate=out)
    assert failed == 1 and "has more than 5 frames; use --seconds 1" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_every_uri_of_a_registered_model_opens_the_same_classifier(classifier, composed, store):
    params = parse_params(composed)
    with begin_run(params, Path("models/run.json")) as run:
        logged = log_classifier(run, classifier / "saved_model", ClassifierDescription.of(classifier), params)
    own = open_model(str(classifier))
    views = np.random.default_rng(0).uniform(size=(2, own.sampling.count, own.size, own.size, 3)).astype(np.float32)
    for uri in (f"models:/{logged.name}@latest", f"models:/{logged.name}/1", logged.uri, f"runs:/{run.run_id}/classifier"):
        predictor = open_model(uri)
        np.testing.assert_array_equal(predictor.probabilities(views), own.probabilities(views))
        with pytest.raises(UserError, match="a0 sees whole clips and cannot run frame by frame"):
            predictor.stream()
    with pytest.raises(UserError, match=r"MLflow at sqlite:.*nothing"):
        open_model("models:/nothing@latest")


def test_help_does_not_import_tensorflow():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "commands.predict", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "camera:0" in done.stdout
    assert not re.search(r"\| +(tensorflow|matplotlib|mlflow)$", done.stderr, re.MULTILINE)


def test_the_default_model_is_the_pipelines_output():
    assert formats.CLASSIFIER == CLASSIFIER


def test_addresses_that_cannot_be_read_are_reported_without_their_credentials(capsys):
    lines, failed = run(streaming(), ["http://me:geheim@nosuch.invalid/x?token=geheim"], form="json", stream=True)
    record = json.loads(lines[0])
    assert failed == 1 and record["source"] == "http://nosuch.invalid/x" and "there is no host" in record["error"]
    assert "geheim" not in "".join([*lines, *capsys.readouterr()])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], True),
        (["--threshold", "0.0"], False),
        (["--no-unknown"], False),
    ],
)
def test_an_unknown_clip_is_said_to_be_so_unless_the_user_decides_otherwise(tmp_path, monkeypatch, capsys, options, said):
    """The clip lies between the classes, below the threshold of 0.6."""
    model = write_classifier(tmp_path / "classifier", DECISION)
    clip = write_video(tmp_path / "clip.avi", [95] * 7)
    monkeypatch.setattr(sys, "argv", ["predict", str(clip), "--model", str(model), *options])
    predict.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  unknown (best: ") == said and len(lines) == 4 + said


def test_a_threshold_can_be_given_for_a_model_that_states_none(classifier, tmp_path, monkeypatch, capsys):
    clip = write_video(tmp_path / "clip.avi", [20] * 7)
    for options, expected in ((["--threshold", "1"], {"class": None, "unknown": True}), ([], {})):
        monkeypatch.setattr(sys, "argv", ["predict", str(clip), "--model", str(classifier), "--format", "json", *options])
        predict.main()
        record = json.loads(capsys.readouterr().out)
        assert {key: record[key] for key in ("class", "unknown") if key in record} == expected


def test_frames_of_a_stream_are_unknown_by_the_same_threshold(tmp_path):
    predictor = streaming()
    predictor.rule = UnknownRule(0.6)
    lines, _ = run(predictor, [write_video(tmp_path / "clip.avi", [20, 160, 160, 160])], stream=True, form="csv")
    assert lines[0] == "source,seconds,class,probability,unknown"
    rows = list(csv.DictReader(lines))
    assert [row["unknown"] for row in rows] == [str(float(row["probability"]) < 0.6).lower() for row in rows]
    assert {row["unknown"] for row in rows} == {"true", "false"}
