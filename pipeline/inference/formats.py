"""Opens what `--model`, `--pretrained` and `--weights` name.

That is a classifier's folder, a SavedModel, a TFLite file, an MLflow model, or the published Kinetics-600 weights.

TensorFlow is imported only for what needs it: a TFLite file does not.
"""

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.artifacts import CLASSIFIER
from pipeline.console import UserError, say
from pipeline.export.stepper import Stepper, signature_call
from pipeline.files import read_json
from pipeline.inference.labels import kinetics_labels, read_labels
from pipeline.inference.models import ClipPredictor, Predictor, StatefulStepper, StreamingPredictor
from pipeline.params import MODEL_IDS
from pipeline.tracking import configure
from pipeline.tracking.classifiers import active_store
from pipeline.tracking.store import readable_errors

DEFAULT_PRETRAINED = "a0_stream"
PUBLISHED_LITE_FPS = 5.0  # the published files are of A0 to A2, and say nothing of themselves
_MLFLOW_URI = re.compile(r"(models|runs|mlflow-artifacts):/")
_DESCRIBED = ("classes", "fps", "size", "count", "views", "model")


def open_model(
    model: str | None = None, *, pretrained: str | None = None, weights: str | None = None, labels: Path | None = None
) -> Predictor:
    """Opens a classifier.

    Args:
      model: a folder, a .tflite file, or an MLflow URI. None: the pipeline's own classifier when there is one, else published
        weights, as with `pretrained`.
      pretrained: a variant's id. weights: where its weights come from, as `model.weights` says it; None: the published sources.
      labels: a file with the names of the classes, for models that do not carry them.

    Raises:
      UserError: nothing is there, it cannot be read, or it is of another kind.
    """
    if model is None and pretrained is None and weights is None:
        if CLASSIFIER.exists():
            return _folder(CLASSIFIER, labels)
        say(f"{CLASSIFIER} is not there: taking the published Kinetics-600 weights of {DEFAULT_PRETRAINED}")
    if model is None:
        return _pretrained(pretrained or DEFAULT_PRETRAINED, weights or "pretrained", labels)
    if _MLFLOW_URI.match(model):
        return _registered(model, labels)
    path = Path(model).expanduser()
    if path.is_dir():
        return _folder(path, labels)
    if not path.exists():
        raise UserError(
            f"--model {model}: not found; give a folder, a .tflite file, or an MLflow URI such as models:/name@latest"
        )
    if path.suffix != ".tflite":
        raise UserError(f"--model {model}: not a .tflite file, and models of other formats are folders")
    return _lite(path, labels)


def _own_names(what: str, labels: Path | None) -> None:
    if labels is not None:
        raise UserError(f"--labels {labels}: {what} carries the names of its classes; leave --labels out")


def _folder(folder: Path, labels: Path | None) -> Predictor:
    """A classifier's folder as finetune leaves it, an export's, or the SavedModel in either."""
    saved_model = folder if (folder / "saved_model.pb").exists() else folder / "saved_model"
    if not (saved_model / "saved_model.pb").exists():
        raise UserError(f"--model {folder}: holds no SavedModel; `dvc repro finetune` makes {CLASSIFIER}")
    _own_names(str(folder), labels)
    home = saved_model.parent
    return _classifier(home, str(folder)) if (home / "classifier.json").exists() else _exported(saved_model, str(folder))


def _load(saved_model: Path):
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(saved_model))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"{saved_model}: cannot be read as a SavedModel ({' '.join(str(error).split())[:200]})") from error


def _classifier(home: Path, name: str) -> Predictor:
    """The classifier that finetune saved in `home`, or MLflow's copy of it, which has no checkpoint."""
    import tensorflow as tf

    described = read_json(home / "classifier.json")
    missing = [key for key in _DESCRIBED if key not in described]
    loaded = _load(home / "saved_model")
    if missing or not hasattr(loaded, "probabilities"):
        what = f"classifier.json has no {missing[0]}" if missing else "its SavedModel has no function `probabilities`"
        raise UserError(f"{name}: not a classifier that this pipeline made ({what})")

    def compute(views: np.ndarray) -> np.ndarray:
        return loaded.probabilities(tf.constant(views)).numpy()  # and keeps `loaded`, whose variables it reads

    def stream() -> Stepper:
        if not (home / "checkpoint").exists():
            raise UserError(f"{name}: takes whole clips; to run frame by frame, name {CLASSIFIER} or a file of models/export")
        from pipeline.models.movinet.streaming import load_streaming

        streaming = load_streaming(home)
        return StatefulStepper(streaming.call, streaming.init_states)

    about = f"{name} ({described['model']}, {len(described['classes'])} classes)"
    feeding = {key: described[key] for key in ("fps", "size", "count", "views")}
    return ClipPredictor(compute, stream, about, described["classes"], **feeding)


def _exported(saved_model: Path, name: str) -> Predictor:
    """A SavedModel that export made: it runs frame by frame, and says itself how it is to be fed."""
    loaded = _load(saved_model)
    if not all(hasattr(loaded, part) for part in ("call", "init_states", "classes", "fps")):
        raise UserError(
            f"{name}: a SavedModel that does not say how it is to be fed; of a base network take the classifier's folder "
            f"({CLASSIFIER})"
        )
    classes = [label.decode() for label in loaded.classes.numpy()]
    (image,) = [spec for spec in loaded.signatures["call"].structured_input_signature[1].values() if spec.name == "image"]
    feeding = {key: int(getattr(loaded, key)) for key in ("count", "views") if hasattr(loaded, key)}
    stepper = _Keeping(loaded)
    about = f"{name} (exported, {len(classes)} classes)"
    return StreamingPredictor(stepper, about, classes, fps=float(loaded.fps), size=image.shape[2], **feeding)


class _Keeping(StatefulStepper):
    """The functions of a loaded SavedModel, kept together with it, as they read its variables."""

    def __init__(self, loaded) -> None:
        self._loaded = loaded
        super().__init__(signature_call(loaded), loaded.init_states)


def _registered(uri: str, labels: Path | None) -> Predictor:
    import mlflow

    _own_names(uri, labels)
    store = configure()
    with TemporaryDirectory() as folder:  # only as long as it takes to load it
        with readable_errors(store), active_store(store):
            home = Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder)) / "artifacts"
        if not (home / "classifier.json").exists() or not (home / "saved_model").is_dir():
            raise UserError(f"{uri}: not a classifier that this pipeline registered")
        return _classifier(home, uri)


def _lite(path: Path, labels: Path | None) -> Predictor:
    from pipeline.export.lite import LiteClassifier
    from pipeline.export.metadata import read_metadata

    described = read_metadata(path)
    threads = min(4, os.cpu_count() or 1)  # of more, networks this small make no use
    if described is None:
        names = kinetics_labels() if labels is None else read_labels(labels)
        lite = LiteClassifier(path, threads, labels=names, fps=PUBLISHED_LITE_FPS)
        return StreamingPredictor(lite, f"{path} ({len(names)} classes)", names, fps=lite.fps, size=lite.size)
    _own_names(str(path), labels)
    lite = LiteClassifier(path, threads)
    about = f"{path} ({lite.model}, {lite.format}, {len(lite.classes)} classes)"
    feeding = {key: described.get(key) for key in ("count", "views")}
    return StreamingPredictor(lite, about, lite.classes, fps=lite.fps, size=lite.size, **feeding)


def _pretrained(variant_id: str, weights: str, labels: Path | None) -> Predictor:
    """Published Kinetics-600 weights: a stream variant frame by frame, a base variant on whole views."""
    from pipeline.models.movinet.variants import VARIANTS

    if variant_id not in MODEL_IDS:
        raise UserError(f"--pretrained {variant_id}: not one of {', '.join(MODEL_IDS)}")
    if weights == "random":
        advice = "name a tarball, folder, checkpoint prefix or URL"
        raise UserError("--weights random: random weights know no classes", advice=advice)
    variant, classes = VARIANTS[variant_id], kinetics_labels(labels)
    source = "published weights" if weights == "pretrained" else weights
    about = f"{variant_id} ({source}, {len(classes)} classes of Kinetics-600)"
    try:
        if variant.stream:
            from pipeline.models.movinet.streaming import pretrained_streaming

            streaming = pretrained_streaming(variant_id, weights, classes)
            stepper = StatefulStepper(streaming.call, streaming.init_states)
            return StreamingPredictor(stepper, about, classes, fps=variant.fps, size=variant.resolution)
        return _base(variant, weights, about, classes)
    except UserError as error:
        raise UserError(_as_options(error.message), advice=_as_options(error.advice)) from error


def _as_options(text: str) -> str:
    """What is said of the parameters, said of predict's options."""
    return text.replace("set model=", "use --pretrained ").replace("model.weights", "--weights")


def _base(variant, weights: str, about: str, classes: list[str]) -> Predictor:
    import tensorflow as tf

    from pipeline.models.movinet.build import build_backbone, build_classifier
    from pipeline.models.movinet.checkpoints import find_weights, restore

    prefix = find_weights(weights, variant)
    network = build_classifier(variant, build_backbone(variant))
    restore(network, prefix, weights)

    @tf.function(autograph=False, reduce_retracing=True)
    def compute(views: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(network({"image": views}, training=False))

    def stream() -> Stepper:
        raise UserError(
            f"{variant.id} is a base model, which sees a whole clip at once; frame by frame run stream models: "
            f"--pretrained {variant.family}_stream"
        )

    return ClipPredictor(
        lambda views: compute(tf.constant(views)).numpy(), stream, about, classes, fps=variant.fps, size=variant.resolution
    )
