"""What --model, --pretrained and --weights open, and the errors for what they cannot."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import pipeline.inference.formats as formats
from pipeline.console import UserError
from pipeline.files import write_json
from pipeline.inference.formats import open_model
from pipeline.inference.saved_stream import load_saved_model
from pipeline.video.decode import decode_clip
from tests.inference.small import CLASSES, COUNT, DECISION, FPS, SIZE, VIEWS, write_classifier, write_video
from tests.tracking_store import run_python


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return write_classifier(tmp_path_factory.mktemp("models") / "classifier")


def clip_views(seed=0):
    return np.random.default_rng(seed).uniform(size=(VIEWS, COUNT, SIZE, SIZE, 3)).astype(np.float32)


@pytest.mark.parametrize("part", [".", "saved_model"])
def test_a_folder_and_its_saved_model_give_the_same_predictor(classifier, part):
    predictor = open_model(str(classifier / part))
    assert (predictor.classes, predictor.fps, predictor.size) == (CLASSES, FPS, SIZE)
    assert predictor.view_indices(100).shape == (VIEWS, COUNT)
    loaded = load_saved_model(classifier / "saved_model")
    np.testing.assert_allclose(predictor.probabilities(clip_views()), loaded.probabilities(clip_views()).numpy(), rtol=1e-5)


def test_a_clips_prediction_is_that_of_the_serving_signature(classifier, tmp_path):
    import tensorflow as tf

    from commands.predict import predict_clip
    from pipeline.inference.sources import find_sources

    path = write_video(tmp_path / "clip.avi", [20, 60, 90, 200, 250, 120, 130, 170, 180, 210, 80])
    prediction = predict_clip(open_model(str(classifier)), find_sources(str(path))[0], top=3)
    frames = decode_clip(path, FPS, SIZE).images
    serve = load_saved_model(classifier / "saved_model").signatures["serving_default"]
    served = serve(frames=tf.constant(frames[None]))["probabilities"].numpy()[0]
    found = {one.name: one.probability for one in prediction.top}
    assert found == pytest.approx(dict(zip(CLASSES, served, strict=True)), rel=1e-4)
    assert prediction.frames == 11


def test_the_pipelines_classifier_has_priority_over_published_weights(classifier, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(formats, "_open_published", lambda *given: opened.append(given))
    open_model()
    assert opened == [("a0_stream", "pretrained", None, "auto")]
    assert "models/classifier does not exist: using the published Kinetics-600 weights of a0_stream" in capsys.readouterr().err
    shutil.copytree(classifier, "models/classifier")
    assert open_model().classes == CLASSES
    open_model(pretrained="a2")
    open_model(weights="w.tar.gz", labels=Path("l.txt"))
    assert opened[1:] == [("a2", "pretrained", None, "auto"), ("a0_stream", "w.tar.gz", Path("l.txt"), "auto")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "none"}, "--model none: not found"),
        ({"model": "empty"}, "--model empty: contains no SavedModel"),
        ({"model": "model.h5"}, r"--model model.h5: not a .tflite file"),
        ({"model": "bad/saved_model"}, "cannot be read as a SavedModel"),
        ({"pretrained": "a9"}, "--pretrained a9: not one of a0"),
        ({"weights": "random"}, "--weights = random: random weights know no classes"),
        ({"pretrained": "a0_stream_relu6", "labels": "labels.txt"}, "set --weights to a tarball"),
        ({"pretrained": "a0_stream", "weights": "gone.tar.gz", "labels": "labels.txt"}, r"--weights: \S+gone\.tar\.gz: no such"),
        (
            {"pretrained": "a0_stream", "weights": "w.tflite", "labels": "labels.txt"},
            r"--weights: \S+w\.tflite is a TensorFlow Lite model, not MoViNet weights; .* --model \S+w\.tflite",
        ),
    ],
)
def test_a_model_that_cannot_be_opened_is_a_one_line_error(classifier, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    Path("empty").mkdir()
    Path("model.h5").touch()
    Path("w.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    Path("bad/saved_model").mkdir(parents=True)
    Path("bad/saved_model/saved_model.pb").write_bytes(b"nonsense")
    shutil.copy(classifier / "classifier.json", "bad")
    Path("labels.txt").write_text("\n".join(f"class {number}" for number in range(600)))
    if "labels" in given:
        given = given | {"labels": Path(given["labels"])}
    with pytest.raises(UserError, match=message) as caught:
        open_model(**given)
    assert "\n" not in str(caught.value)


def test_models_with_class_names_refuse_labels(classifier, tmp_path):
    with pytest.raises(UserError, match="contains the names of its classes; leave --labels out"):
        open_model(str(classifier), labels=tmp_path / "l.txt")


def test_a_saved_model_of_another_origin_is_refused(classifier, tmp_path):
    shutil.copytree(classifier / "saved_model", tmp_path / "saved_model")
    with pytest.raises(UserError, match="does not describe its input"):
        open_model(str(tmp_path))
    write_json(tmp_path / "classifier.json", {"classes": CLASSES})
    with pytest.raises(UserError, match=r"classifier.json: lacks model"):
        open_model(str(tmp_path))


def test_a_network_of_whole_clips_cannot_run_frame_by_frame(classifier):
    with pytest.raises(UserError, match="a0 sees whole clips and cannot run frame by frame; fine-tune a stream network"):
        open_model(str(classifier)).stream()


def test_a_tflite_file_is_opened_without_tensorflow(tmp_path):
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"nonsense")
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    code = f"""
import sys
from pathlib import Path
from pipeline.console import UserError
from commands.predict import open_model
try:
    open_model({str(path)!r}, labels=Path({str(tmp_path / "labels.txt")!r}))
except UserError as error:
    assert "not a TensorFlow Lite file" in str(error), error
assert "tensorflow" not in sys.modules and "matplotlib" not in sys.modules
"""
    _, error = run_python(code).communicate(timeout=120)
    assert error == ""


def test_a_classifiers_folder_states_when_a_prediction_is_unknown(classifier, tmp_path):
    assert open_model(str(write_classifier(tmp_path / "classifier", DECISION))).decision == DECISION
    old = open_model(str(classifier))  # of an earlier version
    assert old.decision is None is old.rule and old.answer(np.array([0.2, 0.3, 0.5])) is None
