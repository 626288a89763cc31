import base64
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import ClassifierDescription, Decision
from pipeline.inference.models import Predictor
from pipeline.params import parse_params
from pipeline.tracking import begin_run, log_classifier
from pipeline.tracking.classifiers import REQUIREMENTS, _copy_decoder, _create_version
from pipeline.tracking.registered_model import Classifier
from pipeline.video.decode import decode_clip
from tests.extracting import write_clip
from tests.tracking_store import composed, empty_database, place, run_python, store  # noqa: F401
from tests.video.videos import write_av, write_video

DECISION = Decision(threshold=0.5, by="coverage", level=0.95, coverage=0.95, precision=0.9, background="b", clip_seconds=2.0)
DESCRIPTION = ClassifierDescription(
    classes=["left turn", "b", "c"], model="a0", fps=5.0, size=8, count=4, views=1, decision=DECISION
)
WEIGHTS = np.array([[1, 0, -1], [0, 2, 1], [0.5, 0.5, 0.5]], np.float32)


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """Averages the pixels and applies a softmax over three classes."""
    tf = pytest.importorskip("tensorflow")

    class Average(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(WEIGHTS)

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, None, 3), tf.uint8, name="frames")])
        def serve(self, frames):
            means = tf.reduce_mean(tf.cast(frames, tf.float32) / 255, axis=(1, 2, 3))
            return {"probabilities": tf.nn.softmax(means @ self.weights)}

    folder = tmp_path_factory.mktemp("model") / "saved_model"
    module = Average()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def frames(seed=0, shape=(2, 4, 8, 8, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def expected(images):
    scores = np.exp((images / 255).mean(axis=(1, 2, 3)) @ WEIGHTS)
    return scores / scores.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def loaded(saved_model, tmp_path_factory):
    """The classifier as MLflow loads it."""
    folder = tmp_path_factory.mktemp("loaded")
    DESCRIPTION.write(folder / "classifier.json")
    decoder = _copy_decoder(folder / "decoder")
    artifacts = {"saved_model": str(saved_model), "description": str(folder / "classifier.json"), "decoder": str(decoder)}
    classifier = Classifier()
    classifier.load_context(SimpleNamespace(artifacts=artifacts))
    return classifier


@pytest.mark.slow
def test_registered_classifier_predicts_the_same_in_another_process(composed, store, saved_model, tmp_path):
    params = parse_params(composed)
    with begin_run(params, Path("models/run.json")) as run:
        first = log_classifier(run, saved_model, DESCRIPTION, params)
        second = log_classifier(run, saved_model, DESCRIPTION, params)
    assert (first.name, first.version, second.version) == ("sample-a0", "1", "2")
    assert "MLFLOW_TRACKING_URI" not in os.environ
    model = run.client.get_logged_model(second.uri.removeprefix("models:/"))
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "sample-a0", "version": "2"}]
    assert model.source_run_id == run.run_id
    assert model.experiment_id == run.client.get_run(run.run_id).info.experiment_id
    assert model.artifact_location.startswith((store / "mlartifacts").as_uri()) or model.artifact_location.startswith(str(store))

    np.save(tmp_path / "frames.npy", frames())
    loaded_elsewhere = """
import sys, mlflow, numpy as np
model = mlflow.pyfunc.load_model("models:/sample-a0@latest")
table = model.predict(np.load("frames.npy"))
assert not [name for name in sys.modules if name.startswith(("stages", "pipeline"))]
assert model.metadata.metadata["classes"] == list(table.columns), table
answers = model.predict(np.load("frames.npy"), params={"output": "class", "threshold": 0.0})
assert list(answers.columns) == ["class", "confidence", "unknown"] and len(answers) == len(table), answers
print(model.metadata.get_model_info().model_id, table.to_json(orient="split", double_precision=15))
"""
    environment = os.environ | {"MLFLOW_TRACKING_URI": run.tracking_uri, "TF_NUM_INTRAOP_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", loaded_elsewhere], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    model_id, _, text = done.stdout.partition(" ")
    assert model_id == model.model_id  # the newest version
    table = json.loads(text)
    assert table["columns"] == DESCRIPTION.classes
    np.testing.assert_allclose(table["data"], expected(frames()), rtol=1e-5)

    mlflow.set_tracking_uri(run.tracking_uri)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(second.uri))
    finally:
        mlflow.set_tracking_uri(None)
    named = [line.split("==")[0] for line in (folder / "requirements.txt").read_text().split()]
    assert sorted(named) == sorted(REQUIREMENTS)
    request = json.loads((folder / "serving_input_example.json").read_text())["dataframe_records"]
    video = tmp_path / "example.avi"
    video.write_bytes(base64.b64decode(request[0]["video"]))
    np.testing.assert_allclose(decode_clip(video, DESCRIPTION.fps, DESCRIPTION.size).images, 128, atol=2)
    signature = mlflow.models.Model.load(str(folder)).signature
    assert signature.inputs.inputs[0].shape == (-1,) and signature.outputs.input_names() == DESCRIPTION.classes
    assert [(param.name, param.default) for param in signature.params] == [("output", "probabilities"), ("threshold", 0.5)]


def test_answers_say_when_a_clip_is_unknown(loaded):
    """Red is the first class; black is undecided; green is the background."""
    clips = np.zeros((3, 4, 8, 8, 3), np.uint8)
    clips[0, ..., 0] = clips[2, ..., 1] = 255
    table = loaded.predict(None, clips, {"output": "class"})
    assert list(table.columns) == ["class", "confidence", "unknown"]
    assert table["class"].tolist() == ["left turn", None, None] and table["unknown"].tolist() == [False, True, True]
    np.testing.assert_allclose(table["confidence"], [expected(clips)[0, 0], 1 / 3, expected(clips)[2, 2]], rtol=1e-6)
    lower = loaded.predict(None, clips, {"output": "class", "threshold": 0.3})
    assert lower["class"].tolist() == ["left turn", "left turn", None]
    pd.testing.assert_frame_equal(loaded.predict(None, clips, {"output": "probabilities"}), loaded.predict(None, clips))
    with pytest.raises(mlflow.MlflowException, match="output 'labels' given; it is probabilities or class"):
        loaded.predict(None, clips, {"output": "labels"})


def test_answers_are_those_of_predict(loaded):
    """`registered_model` cannot import what `predict` uses."""
    random = np.random.default_rng(1)
    probabilities = random.dirichlet([1, 1, 1], 50)
    table = loaded._answered(pd.DataFrame(probabilities, columns=DESCRIPTION.classes), None)
    predictor = Predictor("", DESCRIPTION.classes, fps=5.0, size=8, decision=DECISION)
    answers = [predictor.answer(row) for row in probabilities]
    assert table["unknown"].tolist() == [answer.unknown for answer in answers]
    assert table["class"].tolist() == [None if answer.unknown else answer.name for answer in answers]
    np.testing.assert_allclose(table["confidence"], [answer.probability for answer in answers])
    assert 5 < table["unknown"].sum() < 45


def test_unregistered_classifier_is_only_logged(composed, store, tmp_path):
    params = parse_params(composed | {"tracking": composed["tracking"] | {"register_model": False}})
    with begin_run(params, Path("models/run.json")) as run:
        (tmp_path / "saved_model").mkdir()
        logged = log_classifier(run, tmp_path / "saved_model", DESCRIPTION, params)
    assert (logged.name, logged.version) == (None, None)
    assert run.client.search_registered_models() == []
    assert [out.model_id for out in run.client.get_run(run.run_id).outputs.model_outputs] == [logged.uri.removeprefix("models:/")]


@pytest.mark.slow
def test_processes_that_register_at_once_each_get_a_version(composed, store, tmp_path):
    (tmp_path / "params.json").write_text(json.dumps(composed))
    (tmp_path / "saved_model").mkdir()
    DESCRIPTION.write(tmp_path / "classifier.json")
    code = """
import json, sys
from pathlib import Path
from pipeline.artifacts import ClassifierDescription
from pipeline.params import parse_params
from pipeline.tracking import begin_run, log_classifier
description = ClassifierDescription.read(Path("classifier.json"))
params = parse_params(json.loads(Path("params.json").read_text()))
with begin_run(params, Path(f"models/run_{sys.argv[0]}.json")) as run:
    print(log_classifier(run, Path("saved_model"), description, params).version)
assert "tensorflow" not in sys.modules
"""
    processes = [run_python(code) for _ in range(3)]
    answers = [process.communicate(timeout=300) for process in processes]
    assert sorted(out.strip() for out, _ in answers) == ["1", "2", "3"], answers


def test_registering_is_retried_while_the_database_is_locked():
    failures = [mlflow.MlflowException("(sqlite3.OperationalError) database is locked")]

    class Client:
        def create_model_version(self, name, **_):
            if failures:
                raise failures.pop()
            return SimpleNamespace(version=1)

    assert _create_version(SimpleNamespace(client=Client(), run_id="r"), "m", "models:/m-1", "m-1") == "1"
    failures.append(mlflow.MlflowException("permission denied"))
    with pytest.raises(mlflow.MlflowException, match="permission denied"):
        _create_version(SimpleNamespace(client=Client(), run_id="r"), "m", "models:/m-1", "m-1")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (frames(shape=(4, 8, 8, 3)), r"shape \(4, 8, 8, 3\) given"),
        (frames(shape=(1, 4, 8, 8, 1)), r"shape \(1, 4, 8, 8, 1\) given"),
        (frames(shape=(1, 0, 8, 8, 3)), "which is empty"),
        (frames() / np.float32(255), "dtype float32 given"),
        ((frames() / 255).astype(np.uint8), "as if scaled to 0..1"),
        (pd.DataFrame({"a": [1]}), "DataFrame given, not an array"),
        (frames().astype(object) / 255, "dtype float64 given"),
        (frames().astype(object) + 200, "dtype int64 given"),
        (np.array([frames(), frames(shape=(1, 2, 8, 8, 3)).tolist()], object), r"shape \(2,\) given"),
        (np.array([], object), r"shape \(0,\) given"),
    ],
)
def test_bad_input_says_what_is_wrong_and_what_is_wanted(given, message):
    classifier = Classifier()
    classifier.description = DESCRIPTION.model_dump()
    with pytest.raises(mlflow.MlflowException, match=message) as caught:
        classifier.predict(None, given)
    assert "this model takes uint8 frames (clips, frames, height, width, 3), RGB in 0..255, 5.0 a second" in str(caught.value)
    assert caught.value.get_http_status_code() == 400


def test_a_video_is_decoded_as_the_stages_do(loaded, tmp_path):
    paths = [tmp_path / "dark.avi", tmp_path / "light.avi"]
    for path, level, count in zip(paths, (20, 200), (12, 31), strict=True):
        write_clip(path, level, count)
    first, second = (path.read_bytes() for path in paths)
    table = loaded.predict(None, np.array([first, base64.encodebytes(second).decode()], object))
    assert list(table.columns) == DESCRIPTION.classes and list(table.index) == [0, 1]
    for row, path in zip(table.to_numpy(), paths, strict=True):
        images = decode_clip(path, DESCRIPTION.fps, DESCRIPTION.size).images
        np.testing.assert_allclose(row, expected(images[None])[0], rtol=1e-5)
    assert abs(table.to_numpy()[0] - table.to_numpy()[1]).max() > 0.1


def test_frames_of_a_json_request_are_converted_to_numbers(loaded):
    table = loaded.predict(None, frames().astype(object))
    np.testing.assert_allclose(table, expected(frames()), rtol=1e-5)


def test_a_damaged_video_leaves_no_messages_of_libraries(loaded, tmp_path, capfd):
    for codec in ("mpeg4", "libx264"):
        path = write_av(tmp_path / f"{codec}.mkv", 30, codec=codec)
        whole = bytearray(path.read_bytes())
        for position in range(len(whole) // 3, len(whole), 7):
            whole[position] ^= 0x5A
        capfd.readouterr()
        with contextlib.suppress(mlflow.MlflowException):
            loaded.predict(None, np.array([bytes(whole)], object))
        captured = capfd.readouterr()
        assert captured.out == captured.err == ""


def test_a_bad_video_is_named(loaded, tmp_path, monkeypatch):
    def refused(*videos):
        with pytest.raises(mlflow.MlflowException) as caught:
            loaded.predict(None, np.array(videos, object))
        assert caught.value.get_http_status_code() == 400
        return str(caught.value)

    write_clip(tmp_path / "a.avi", 20, 30)
    good = (tmp_path / "a.avi").read_bytes()
    unread = refused(good, b"not a video")
    assert unread.startswith("video 2 of 2: FFmpeg cannot read it as mov, mp4") and unread.endswith("damaged or cut off")
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    assert "video 1 of 1: FFmpeg cannot read it as mov, mp4" in refused(playlist)
    assert "video 1 of 1: the file is empty" in refused("")
    assert "video 1 of 1: not base64" in refused("clip.avi")
    strip = write_video(tmp_path / "strip.avi", 25, 2, "MJPG", 16, 8192).read_bytes()
    assert "video 1 of 1: one side of its frames is more than 16 times the other" in refused(strip)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.tracking.registered_model.MOST_BYTES", 1000)
        assert "video 1 of 1: its frames take more than 0 MB" in refused(good)
    monkeypatch.setattr("pipeline.tracking.registered_model.LONGEST", 1)
    assert "video 1 of 1: longer than 1 seconds" in refused(good)  # 1.2 seconds


def test_models_decode_with_the_code_that_they_carry(tmp_path):
    from pipeline.tracking.registered_model import _import_decoder

    one, other = (_copy_decoder(tmp_path / name) for name in ("one", "other"))
    (other / "video/decode.py").write_text("iterate_frames = None\n")
    assert _import_decoder(other).iterate_frames is None
    decoder = _import_decoder(one)
    assert Path(decoder.__file__).is_relative_to(one) and issubclass(decoder.BrokenVideo, Exception)
    assert Path(sys.modules[decoder.BrokenVideo.__base__.__module__].__file__).is_relative_to(one)
