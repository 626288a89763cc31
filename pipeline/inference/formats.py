"""Opens classifiers: a classifier's folder, a SavedModel, a TFLite file, an MLflow model, or published Kinetics-600 weights.

TensorFlow is imported only when it is needed; TFLite files run without it.
"""

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.artifacts import CLASSIFIER, ClassifierDescription
from pipeline.console import UserError, say
from pipeline.engines.engine import StreamGraph, TensorflowNetwork, open_in_engine
from pipeline.inference.models import ClipPredictor, Predictor, StatefulStepper, StreamingPredictor, one_view_at_a_time
from pipeline.inference.stepper import Stepper
from pipeline.models.class_names import read_labels
from pipeline.models.family import Stream, frame_graph, open_pretrained, open_probabilities, open_stream
from pipeline.models.movinet.kinetics import kinetics_labels
from pipeline.settings import EngineName
from pipeline.video.sampling import Sampling

DEFAULT_PRETRAINED = "a0_stream"
PUBLISHED_LITE_FPS = 5.0  # of the published files (A0 to A2), which have no metadata
_MLFLOW_URI = re.compile(r"(models|runs|mlflow-artifacts):/")


def open_model(
    model: str | None = None,
    *,
    pretrained: str | None = None,
    weights: str | None = None,
    labels: Path | None = None,
    engine: EngineName = "auto",
) -> Predictor:
    """Opens a classifier.

    Args:
      model: a folder, a .tflite file, or an MLflow URI. None: the pipeline's own classifier if it exists, else published weights.
      pretrained: the id of a published model.
      weights: where its weights are, with the values of `model.weights`; None: the published sources.
      labels: a file with the names of the classes, for models that do not contain them.
      engine: of published weights and of the folders that finetune writes; see `open_network`.

    Raises:
      UserError: if there is no such model, or it cannot be read or is of an unknown format.
    """
    if model is None and pretrained is None and weights is None:
        if CLASSIFIER.exists():
            return _open_folder(CLASSIFIER, labels, engine)
        say(f"{CLASSIFIER} does not exist: using the published Kinetics-600 weights of {DEFAULT_PRETRAINED}")
    if model is None:
        return _open_published(pretrained or DEFAULT_PRETRAINED, weights or "pretrained", labels, engine)
    if _MLFLOW_URI.match(model):
        return _open_registered(model, labels, engine)
    path = Path(model).expanduser()
    if path.is_dir():
        return _open_folder(path, labels, engine)
    if not path.exists():
        raise UserError(
            f"--model {model}: not found", advice="give a folder, a .tflite file, or an MLflow URI such as models:/name@latest"
        )
    if path.suffix != ".tflite":
        raise UserError(f"--model {model}: not a .tflite file, and models of other formats are folders")
    return _open_lite(path, labels)


def _refuse_labels(name: str, labels: Path | None) -> None:
    """Raises UserError if labels are given for a model that contains them."""
    if labels is not None:
        raise UserError(f"--labels {labels}: {name} contains the names of its classes", advice="leave --labels out")


def _open_folder(folder: Path, labels: Path | None, engine: EngineName) -> Predictor:
    """Opens a folder that finetune or export wrote, or the SavedModel in it."""
    saved_model = folder if (folder / "saved_model.pb").exists() else folder / "saved_model"
    if not (saved_model / "saved_model.pb").exists():
        raise UserError(f"--model {folder}: contains no SavedModel", advice=f"`dvc repro finetune` makes {CLASSIFIER}")
    _refuse_labels(str(folder), labels)
    home = saved_model.parent
    if (home / "classifier.json").exists():
        return _open_classifier(home, str(folder), engine)
    from pipeline.inference.saved_stream import SavedStream

    stream = SavedStream(saved_model)
    about = f"{folder} (exported, {len(stream.classes)} classes)"
    return StreamingPredictor(
        stream,
        about,
        stream.classes,
        fps=stream.fps,
        size=stream.size,
        sampling=stream.sampling,
        views=stream.views,
        decision=stream.decision,
    )


def _open_classifier(home: Path, name: str, engine: EngineName) -> Predictor:
    """Opens the classifier that finetune wrote, or MLflow's copy of it, which has only the SavedModel and its description."""
    description = ClassifierDescription.of(home)

    def stream() -> Stepper:
        try:
            return _stepper(name, partial(open_stream, home, description), frame_graph(home, description), engine)
        except UserError as error:
            raise UserError(f"{name}: {error.message}", advice=error.advice) from error

    network = open_probabilities(home, description, engine)
    return ClipPredictor(
        one_view_at_a_time(network) if isinstance(network, TensorflowNetwork) else network,
        stream,
        f"{name} ({description.model}, {len(description.classes)} classes)",
        description.classes,
        fps=description.fps,
        size=description.size,
        sampling=Sampling.of(description),
        views=description.views,
        causal="_stream" in description.model,
        decision=description.decision,
    )


def _stepper(name: str, stream: Callable[[], Stream], graph: Callable[[], StreamGraph] | None, engine: EngineName) -> Stepper:
    """Opens a network frame by frame. stream: in TensorFlow. graph: for OpenVINO, if it can run there."""

    def in_tensorflow() -> Stepper:
        network = stream()
        return StatefulStepper(network.call, network.init_states)

    if graph is None:
        return in_tensorflow()

    def in_openvino() -> Stepper:
        from pipeline.inference.openvino_stream import OpenvinoStream

        return OpenvinoStream(graph())

    return open_in_engine(f"{name}, frame by frame,", {"tensorflow": in_tensorflow, "openvino": in_openvino}, engine)


def _open_registered(uri: str, labels: Path | None, engine: EngineName) -> Predictor:
    import mlflow

    # Here, because their libraries take half a second to import, and nothing else needs them.
    from pipeline.tracking import configure
    from pipeline.tracking.classifiers import active_store
    from pipeline.tracking.store import readable_errors, require_runs

    _refuse_labels(uri, labels)
    require_runs()
    store = configure()
    with TemporaryDirectory() as folder:  # not needed once the model is loaded
        with readable_errors(store), active_store(store):
            home = Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder)) / "artifacts"
        if not (home / "classifier.json").exists() or not (home / "saved_model").is_dir():
            raise UserError(f"{uri}: not a classifier that this pipeline registered")
        return _open_classifier(home, uri, engine)


def _open_lite(path: Path, labels: Path | None) -> Predictor:
    from pipeline.inference.lite import LiteClassifier, read_metadata

    metadata = read_metadata(path)
    threads = min(4, os.cpu_count() or 1)  # networks this small do not benefit from more
    if metadata is None:
        names = kinetics_labels() if labels is None else read_labels(labels)
        lite = LiteClassifier(path, threads, labels=names, fps=PUBLISHED_LITE_FPS)
        return StreamingPredictor(lite, f"{path} ({len(names)} classes)", names, fps=lite.fps, size=lite.size)
    _refuse_labels(str(path), labels)
    lite = LiteClassifier(path, threads)
    about = f"{path} ({lite.model}, {lite.format}, {len(lite.classes)} classes)"
    sampling = None
    if metadata.count is not None:
        sampling = Sampling(metadata.count, lite.size, metadata.sampling, metadata.short_clips)
    return StreamingPredictor(
        lite,
        about,
        lite.classes,
        fps=lite.fps,
        size=lite.size,
        sampling=sampling,
        views=metadata.views,
        decision=metadata.decision,
    )


def _open_published(name: str, weights: str, labels: Path | None, engine: EngineName) -> Predictor:
    try:
        found = open_pretrained(name, weights, labels)
        expected_input = {"fps": found.fps, "size": found.size}
        if found.network is None:
            stepper = _stepper(found.about, found.stream, found.graph, engine)
            return StreamingPredictor(stepper, found.about, found.classes, **expected_input)
        network = found.network(engine)
    except UserError as error:
        raise UserError(_as_options(error.message), advice=_as_options(error.advice)) from error

    def stream() -> Stepper:
        raise UserError(f"{name} takes whole clips", advice=f"to run frame by frame, use {found.streaming_advice}")

    return ClipPredictor(network, stream, found.about, found.classes, **expected_input)


def _as_options(text: str) -> str:
    """A message about parameters, reworded for the options of predict."""
    return text.replace("set model=", "use --pretrained ").replace("model.weights", "--weights")
