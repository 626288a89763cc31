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

from stages.params import parse_params
from stages.registered_model import Classifier
from stages.tracking import begin_run, log_classifier
from stages.tracking.classifiers import REQUIREMENTS, _create_version
from tests.tracking_store import composed, empty_database, place, run_python, store  # noqa: F401

DESCRIPTION = {"classes": ["left turn", "b", "c"], "model": "a0", "fps": 5.0, "size": 8, "count": 4}
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


@pytest.mark.slow
def test_registered_classifier_predicts_the_same_in_another_process(composed, store, saved_model, tmp_path):
    params = parse_params(composed)
    with begin_run(params, Path("models/run.json")) as run:
        first = log_classifier(run, saved_model, DESCRIPTION, params)
        second = log_classifier(run, saved_model, DESCRIPTION, params)
    assert (first.name, first.version, second.version) == ("sample-a0", "1", "2")
    assert "MLFLOW_TRACKING_URI" not in os.environ
    model = run.client.get_logged_model(second.uri.removeprefix("models:/"))
    assert model.source_run_id == run.run_id
    assert model.experiment_id == run.client.get_run(run.run_id).info.experiment_id
    assert model.artifact_location.startswith((store / "mlartifacts").as_uri()) or model.artifact_location.startswith(str(store))

    np.save(tmp_path / "frames.npy", frames())
    loaded_elsewhere = """
import sys, mlflow, numpy as np
model = mlflow.pyfunc.load_model("models:/sample-a0@latest")
table = model.predict(np.load("frames.npy"))
assert not [name for name in sys.modules if name.startswith("stages")]
assert model.metadata.metadata["classes"] == list(table.columns), table
print(model.metadata.get_model_info().model_id, table.to_json(orient="split", double_precision=15))
"""
    environment = os.environ | {"MLFLOW_TRACKING_URI": run.tracking_uri, "TF_NUM_INTRAOP_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", loaded_elsewhere], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    model_id, _, text = done.stdout.partition(" ")
    assert model_id == model.model_id  # the newest version
    table = json.loads(text)
    assert table["columns"] == DESCRIPTION["classes"]
    np.testing.assert_allclose(table["data"], expected(frames()), rtol=1e-5)

    mlflow.set_tracking_uri(run.tracking_uri)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(second.uri))
    finally:
        mlflow.set_tracking_uri(None)
    named = [line.split("==")[0] for line in (folder / "requirements.txt").read_text().split()]
    assert sorted(named) == sorted(REQUIREMENTS)
    signature = mlflow.models.Model.load(str(folder)).signature
    assert signature.inputs.inputs[0].type == np.uint8 and signature.inputs.inputs[0].shape == (-1, -1, -1, -1, 3)


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
    code = f"""
import json, sys
from pathlib import Path
from stages.params import parse_params
from stages.tracking import begin_run, log_classifier
params = parse_params(json.loads(Path("params.json").read_text()))
with begin_run(params, Path(f"models/run_{{sys.argv[0]}}.json")) as run:
    print(log_classifier(run, Path("saved_model"), {DESCRIPTION!r}, params).version)
assert "tensorflow" not in sys.modules
"""
    processes = [run_python(code) for _ in range(3)]
    answers = [process.communicate(timeout=300) for process in processes]
    assert sorted(out.strip() for out, _ in answers) == ["1", "2", "3"], answers


def test_registering_is_tried_again_when_the_database_is_locked():
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
    ],
)
def test_bad_input_says_what_is_wrong_and_what_is_wanted(given, message):
    classifier = Classifier()
    classifier.description = DESCRIPTION
    with pytest.raises(mlflow.MlflowException, match=message) as caught:
        classifier.predict(None, given)
    assert "this model takes uint8 frames (clips, frames, height, width, 3), RGB in 0..255, 5.0 a second" in str(caught.value)
    assert caught.value.get_http_status_code() == 400
