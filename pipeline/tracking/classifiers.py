"""The trained classifier on its run and in the registry, as a pyfunc that any machine with MLflow can load and serve.

MLflow's own TensorFlow flavours save a MoViNet but cannot load it back; a SavedModel behind `registered_model.py` can be.
"""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tenacity import retry, retry_if_exception_message, stop_after_attempt, wait_random

from pipeline.artifacts import ClassifierDescription, Decision
from pipeline.files import write_json
from pipeline.params import Params
from pipeline.tracking.runs import Run
from pipeline.tracking.store import already_exists, readable_errors

MODEL_CODE = Path(__file__).resolve().with_name("registered_model.py")
# Of pipeline/: what decodes a served video.
DECODER = ("__init__.py", "console.py", *(f"video/{name}.py" for name in ("__init__", "clock", "container", "decode")))
REQUIREMENTS = ("mlflow", "tensorflow", "numpy", "pandas", "av", "opencv-python-headless", "tqdm")


class LoggedClassifier(NamedTuple):
    """A logged classifier: its `uri` for `mlflow.pyfunc.load_model`; registered name and version, None if not registered."""

    uri: str
    name: str | None
    version: str | None


def log_classifier(run: Run, saved_model: Path, description: ClassifierDescription, params: Params) -> LoggedClassifier:
    """Logs a SavedModel on the run and, with tracking.register_model, as a new version of `<data>-<model>`.

    saved_model: a folder whose signature `serving_default` takes `frames`, uint8 (B, T, H, W, 3), and returns `probabilities`,
    float32 (B, N). description: `classifier.json`; its `classes` (N names, in order) name the columns of a prediction.
    `models:/<data>-<model>@latest` is the newest version by MLflow's own rule: the alias is reserved and needs no setting.
    """
    with readable_errors(run.tracking_uri), active_store(run.tracking_uri):
        uri, model_id = _log(run, saved_model, description)
        if not params.tracking.register_model:
            return LoggedClassifier(uri, None, None)
        name = f"{params.data.name}-{params.model.id}"
        _create_registered_model(run, name)
        version = _create_version(run, name, uri, model_id)
        _name_version(run, model_id, name, version)
    return LoggedClassifier(uri, name, version)


def _log(run: Run, saved_model: Path, description: ClassifierDescription) -> tuple[str, str]:
    import mlflow
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    signature = ModelSignature(
        # A signature cannot state "uint8 frames, or a column of videos": this one accepts all, and the model's code checks.
        inputs=Schema([TensorSpec(np.dtype("object"), (-1,))]),
        outputs=Schema([ColSpec("float", name) for name in description.classes]),
        params=_parameters(description.decision),
    )
    stored = run.client.get_run(run.run_id)
    # Made here because MLflow itself would put the model into the experiment that the environment names.
    model = run.client.create_logged_model(
        stored.info.experiment_id, name="classifier", source_run_id=run.run_id, params=stored.data.params
    )
    with TemporaryDirectory() as folder:
        described = Path(folder) / "classifier.json"
        description.write(described)
        decoder = _copy_decoder(Path(folder) / "decoder")
        with _without_check_of_requirements():
            info = Model.log(
                artifact_path=None,
                flavor=mlflow.pyfunc,
                run_id=run.run_id,
                model_id=model.model_id,
                step=description.best_epoch,  # whose metrics of the run become the model's, too
                python_model=str(MODEL_CODE),
                artifacts={"saved_model": str(saved_model), "description": str(described), "decoder": str(decoder)},
                signature=signature,
                pip_requirements=[f"{name}=={metadata.version(name)}" for name in REQUIREMENTS],
                metadata=description.model_dump(),
            )
        # Not as Model.log's input_example, for which MLflow would load the model and run it.
        request = Path(folder) / "serving_input_example.json"
        write_json(request, {"dataframe_records": [{"video": _example_video(Path(folder) / "example.avi", description)}]})
        run.client.log_model_artifact(model.model_id, str(request))
    return info.model_uri, model.model_id


@contextmanager
def _without_check_of_requirements() -> Iterator[None]:
    """Leaves out MLflow's check that REQUIREMENTS are installed in these versions, which are those that are installed.

    It lists the files of every installed package, which takes seconds.
    """
    from mlflow.utils import environment

    check, environment.warn_dependency_requirement_mismatches = environment.warn_dependency_requirement_mismatches, lambda _: None
    try:
        yield
    finally:
        environment.warn_dependency_requirement_mismatches = check


def _parameters(decision: Decision | None):
    """The signature's parameters, whose defaults give probabilities; see `registered_model.Classifier.predict`."""
    from mlflow.types import ParamSchema, ParamSpec

    if decision is None:
        return None
    return ParamSchema([ParamSpec("output", "string", "probabilities"), ParamSpec("threshold", "double", decision.threshold)])


def _example_video(path: Path, description: ClassifierDescription) -> str:
    """A video of grey frames, one view long, as a request to a served model has it: the content of an AVI file in base64."""
    import cv2
    import numpy as np

    side = description.size
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), description.fps, (side, side))
    for _ in range(description.count):
        writer.write(np.full((side, side, 3), 128, np.uint8))
    writer.release()
    return base64.b64encode(path.read_bytes()).decode()


def _copy_decoder(folder: Path) -> Path:
    """Copies the modules that decode a video to the same relative paths in `folder`; returns it."""
    for name in DECODER:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(MODEL_CODE.parents[1] / name, target)
    return folder


_retry_locked = retry(
    retry=retry_if_exception_message(match=r"(?s).*(database is locked|Giving up after)"),
    stop=stop_after_attempt(8),
    wait=wait_random(0.1, 2),
    reraise=True,
)


@_retry_locked
def _create_registered_model(run: Run, name: str) -> None:
    from mlflow import MlflowException

    try:
        run.client.create_registered_model(name)
    except MlflowException as error:
        if not already_exists(error):
            raise


@_retry_locked
def _create_version(run: Run, name: str, uri: str, model_id: str) -> str:
    return str(run.client.create_model_version(name, source=uri, run_id=run.run_id, model_id=model_id).version)


@_retry_locked
def _name_version(run: Run, model_id: str, name: str, version: str) -> None:
    """Sets the tag that servers set themselves; without it the page of the model says that it is not registered."""
    run.client.set_logged_model_tags(model_id, {"mlflow.modelVersions": json.dumps([{"name": name, "version": version}])})


@contextmanager
def active_store(uri: str) -> Iterator[None]:
    """Makes `uri` MLflow's active store for a while: logging a model takes no store as an argument.

    MLflow exports the store to the environment as it does so; what was there before is put back.
    """
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before
