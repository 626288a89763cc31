"""The interface of a model family. A family is a package of `pipeline.models` with the modules that are described here.

Every model consists of a backbone and a top. The backbone maps views to features. It can be frozen: then its features are cached,
and only the top is trained, on the cached features. A family may also train its whole network, and may run frame by frame.

| module | defines | used by |
|---|---|---|
| `settings` | `Settings`: the section `model` of params.yaml, a subclass of `ModelSettings`. Does not import TensorFlow | all |
| `backbone` | `open_backbone`: builds the backbone, and saves what a top needs | embed |
| `frozen` | `open_features`, `open_probabilities`: what embed or finetune saved, in any engine | embed, evaluate, predict |
| `top` | `build_top`, `save_top`: the part that is trained on cached features | finetune (head) |
| `apply` | `predict`: computes probabilities from cached features, with NumPy | evaluate |
| `linear_top` | `open_probe`: a top of which only the last layer is fitted, with NumPy | finetune (probe) |
| `probe` | `probe_features`: what a linear classifier is fitted to, with NumPy | evaluate |
| `training` | `initial_weights_digest`, and from `build_network` to `save_network` | finetune (last blocks, all) |
| `stream` | `open_stream`: runs the classifier frame by frame | export, predict |
| `frame_graph` | `frame_graph`: the same for OpenVINO; absent if only TensorFlow runs it frame by frame | predict |
| `pretrained` | `open_pretrained`; absent if no published weights classify videos | predict |
| `check` | `check_weights`: checks that `model.weights` exists and fits. Does not import TensorFlow | doctor |

A new family is one package with these modules and its files in `conf/model`; no other file changes. All other modules that
influence the results are in the family's `network/`, a dependency of stages in dvc.yaml.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
from pydantic import Field

from pipeline import models
from pipeline.artifacts import ClassifierDescription, Decision
from pipeline.check_results import CheckResult
from pipeline.console import UserError
from pipeline.engines.engine import Network, StreamGraph
from pipeline.settings import EngineName, Finetune, PositiveInt, Section

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras

    from pipeline.video.sampling import Sampling

FAMILIES = tuple(sorted(module.name for module in iter_modules(models.__path__) if module.ispkg))


class Cost(NamedTuple):
    """The computational cost of a network, for estimates before a run.

    Attributes:
      gflop: 10^9 floating-point operations for the forward pass of one frame; a multiplication and an addition count as two.
      pixels: side of that frame.
      start: seconds to build the network and trace its training step.
      forward, step: bytes of memory per pixel of a batch in inference and in training, without the built network itself.
      parameters: number of weights of the whole classifier.
      features: number of cached values per view.
    """

    gflop: float
    pixels: int
    start: int
    forward: int
    step: int
    parameters: int
    features: int


class ModelSettings(Section):
    """The part of the section `model` of params.yaml that is the same for every family.

    Attributes:
      family: name of the package in `pipeline.models`.
      id: name of the model, also in MLflow.
      fps, resolution: frames per second and side of the frames, in pixels, with which the network was pretrained.
      weights: the initial weights; each family documents the values it accepts.
      watch: a path that DVC watches: embed and finetune run again if its content changes. It is that of `weights`, if that is a
        local path; conf/ derives it (hydra_plugins/local_path.py).
      short_clips: see `Sampling.short_clips`.
      PRETRAINED: ids whose published weights classify videos.
    """

    family: str
    id: str
    fps: float = Field(gt=0)
    resolution: PositiveInt
    weights: str
    watch: str
    short_clips: ClassVar[Literal["repeat", "pad"]] = "repeat"
    PRETRAINED: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of_id(cls, name: str) -> Self:
        """The settings of a `model.id`, for a classifier.json of an earlier version, which has no others. May raise UserError."""
        raise UserError(f"{name}: its classifier.json does not say how the model was built", advice="train it again")

    @property
    def activation(self) -> str | None:
        """Activation of the top's first layer; None for a family in which it has never changed."""
        return None

    @property
    def streams(self) -> bool:
        """Whether the classifier can run frame by frame, with states between frames."""
        raise NotImplementedError

    @property
    def streaming_advice(self) -> str:
        """Advice for the user of a classifier that does not stream: how to get one that does."""
        raise NotImplementedError

    def check_training(self, finetune: Finetune) -> None:
        """Raises UserError if the model cannot be trained with these settings."""

    def cost(self, frames: int) -> Cost:
        """The cost with views of `frames` frames."""
        raise NotImplementedError


class Backbone(Protocol):
    """A frozen network with its initial top, which embed saves.

    Attributes:
      shape: of the features of one view; (frames, P) if short clips are padded, so that the padding can be masked.
      digest: SHA-256 of the initial weights; None if they are random.
      made_with: other values on which the features depend, for embed.json and for the key of the scratch folder.
    """

    shape: tuple[int, ...]
    digest: str | None
    made_with: dict[str, Any]

    def save(self, folder: Path, views: int) -> None:
        """Builds the network and writes the files that `open_features`, `build_top` and `save_top` read into an empty folder.

        views: per clip in serving.
        """


class Probe(Protocol):
    """A top whose last layer is fitted, while those before it stay as they are. With NumPy."""

    def inputs(self, features: np.ndarray) -> np.ndarray:
        """What the last layer receives, float32 (N, D), of cached features float32 (N, *Backbone.shape)."""

    def save(self, kernel: np.ndarray, bias: np.ndarray, embeddings: Path, folder: Path) -> int:
        """Writes the classifier with this last layer, float32 (D, C) and (C,), as `save_top` does."""


class Stream(Protocol):
    """A classifier that TensorFlow runs frame by frame.

    Attributes:
      model: its id.
      classes: names in the order of the logits.
      fps: frames per second. size: side of a frame in pixels.
      sampling: of the views of whole clips; None if unknown.
      views: number of views of a whole clip; None if unknown.
      decision: when a prediction is unknown; None if that was not chosen.
      state_specs: specs of the states by name, sorted by name.
      float_operations: names of the builtin operations that a quantised file computes in float.
      float_scopes: prefixes of the name scopes whose convolutions a quantised file computes in float.
      call: (image, states) -> (logits, states). image: float32 (1, T, size, size, 3) in [0, 1]; logits: float32 (1, N) after its
        last frame. A tf.function, traced for each T.
    """

    model: str
    classes: list[str]
    fps: float
    size: int
    sampling: "Sampling | None"
    views: int | None
    decision: Decision | None
    state_specs: "dict[str, tf.TensorSpec]"
    float_operations: Sequence[str]
    float_scopes: Sequence[str]
    call: Callable

    def init_states(self) -> "dict[str, tf.Tensor]":
        """The states before the first frame."""


class Pretrained(NamedTuple):
    """A classifier with published weights, which runs either frame by frame or on views.

    Attributes:
      about: description for the user.
      classes: names in the order of the outputs.
      fps: frames per second. size: side of a frame in pixels.
      stream, graph: open it frame by frame, in TensorFlow and for OpenVINO; None if it runs on views.
      network: opens it in an engine: views float32 (V, T, size, size, 3) -> float32 (V, N); None if it runs frame by frame.
      streaming_advice: options of predict that select a network that runs frame by frame; empty if this one does.
    """

    about: str
    classes: list[str]
    fps: float
    size: int
    stream: Callable[[], Stream] | None = None
    graph: Callable[[], StreamGraph] | None = None
    network: Callable[[EngineName], Callable[[np.ndarray], np.ndarray]] | None = None
    streaming_advice: str = ""


def _module(family: str, name: str) -> ModuleType:
    if family not in FAMILIES:
        raise UserError(f"model.family = {family!r}: not one of {', '.join(FAMILIES)}")
    return import_module(f"{models.__name__}.{family}.{name}")


def settings_class(family: str) -> type[ModelSettings]:
    """The class of the section `model` of a family. Raises UserError if there is no such family."""
    return _module(family, "settings").Settings


def settings_of(description: ClassifierDescription) -> ModelSettings:
    """The section `model` with which a classifier was trained."""
    kind = settings_class(description.family)
    return kind.model_validate(description.settings) if description.settings else kind.of_id(description.model)


def open_backbone(model: ModelSettings, num_classes: int, sampling: "Sampling", seed: int) -> Backbone:
    """Finds the weights of the backbone. Raises UserError if they cannot be found or fetched; `save` also if they do not fit.

    num_classes: of the initial top. seed: of random weights.
    """
    return _module(model.family, "backbone").open_backbone(model, num_classes, sampling, seed)


def open_features(
    folder: Path, model: ModelSettings, sampling: "Sampling", engine: EngineName, threads: int | None = None
) -> Network:
    """Opens the backbone that `Backbone.save` wrote: views float32 (N, T, size, size, 3) in [0, 1] -> features (N, *shape).

    engine, threads, errors: see `open_network`.
    """
    return _module(model.family, "frozen").open_features(folder, model, sampling, engine, threads)


def open_probabilities(classifier: Path, description: ClassifierDescription, engine: EngineName) -> Network:
    """Opens the classifier in a folder that finetune wrote: views float32 (N, T, size, size, 3) in [0, 1] -> (N, classes).

    Of MLflow's copy, which is the SavedModel alone, only TensorFlow can run a MoViNet. engine, errors: see `open_network`.
    """
    return _module(description.family, "frozen").open_probabilities(classifier, description, engine)


def build_top(model: ModelSettings, finetune: Finetune, embeddings: Path, num_classes: int, seed: int) -> "tf_keras.Model":
    """A new top: features float32 (B, *Backbone.shape) -> logits float32 (B, num_classes).

    The last two weights of its last layer are the kernel and the bias that make the logits. If short clips are padded, its
    input is {"features": float32 (B, frames, P), "mask": bool (B, frames)}.
    """
    return _module(model.family, "top").build_top(model, finetune, embeddings, num_classes, seed)


def save_top(top: "tf_keras.Model", embeddings: Path, folder: Path, description: ClassifierDescription) -> int:
    """Writes the trained top with its backbone into a classifier's folder; returns the number of parameters of both.

    It writes the files that `predict` and `open_stream` read, and `saved_model`: a SavedModel with the signature
    `serving_default`, whole clips uint8 (B, T, H, W, 3) -> probabilities float32 (B, N), and the function `probabilities` of
    views.
    """
    return _module(description.family, "top").save_top(top, embeddings, folder, description)


def open_probe(model: ModelSettings, finetune: Finetune, embeddings: Path, num_classes: int, seed: int) -> Probe:
    """The layers before the last of the top that `build_top` builds with the same arguments."""
    return _module(model.family, "linear_top").open_probe(model, finetune, embeddings, num_classes, seed)


def predict(classifier: Path, description: ClassifierDescription, features: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Probabilities float32 (N, C) of cached features float32 (N, *shape). mask: bool (N, frames); None without padding."""
    return _module(description.family, "apply").predict(classifier, description, features, mask)


def probe_features(
    embeddings: Path, description: ClassifierDescription, features: np.ndarray, mask: np.ndarray | None
) -> np.ndarray:
    """Vectors float32 (N, P) of cached features float32 (N, *shape), which do not depend on the training. mask: see `predict`."""
    return _module(description.family, "probe").probe_features(embeddings, description, features, mask)


def initial_weights_digest(model: ModelSettings) -> str | None:
    """SHA-256 of the weights from which the training of the network starts; None if they are random."""
    return _module(model.family, "training").initial_weights_digest(model)


def build_network(model: ModelSettings, finetune: Finetune, num_classes: int, seed: int) -> "tf_keras.Model":
    """Builds, restores and partly freezes a network: {"image": float32 (B, T, size, size, 3)} -> logits (B, num_classes)."""
    return _module(model.family, "training").build_network(model, finetune, num_classes, seed)


def set_top(model: ModelSettings, network: "tf_keras.Model", top: "tf_keras.Model") -> None:
    """Gives a network of `build_network` the weights of a top of `build_top`."""
    _module(model.family, "training").set_top(model, network, top)


def layer_depths(model: ModelSettings, network: "tf_keras.Model") -> list[int]:
    """For each trainable variable of a network of `build_network`, the groups of layers up to the head: 0 in the head itself."""
    return _module(model.family, "training").layer_depths(model, network)


def plain_network(model: ModelSettings, network: "tf_keras.Model", num_classes: int, *, portable: bool) -> "tf_keras.Model":
    """A float32 network outside any strategy with the weights of a trained one, to be calibrated and saved.

    Its last layer ends with the same two weights as that of a top.

    portable: `network` is itself float32 and was not built in the scope of a strategy, so that its backbone can be shared.
    """
    return _module(model.family, "training").plain_network(model, network, num_classes, portable=portable)


def save_network(network: "tf_keras.Model", folder: Path, description: ClassifierDescription) -> int:
    """Writes a trained `plain_network` as `save_top` does."""
    return _module(description.family, "training").save_network(network, folder, description)


def open_stream(classifier: Path, description: ClassifierDescription) -> Stream:
    """Opens the classifier in a folder that finetune wrote. Raises UserError if it cannot run frame by frame."""
    return _module(description.family, "stream").open_stream(classifier, description)


def frame_graph(classifier: Path, description: ClassifierDescription) -> Callable[[], StreamGraph] | None:
    """What builds the graph that OpenVINO runs frame by frame, of a folder that finetune wrote; None if the family has none.

    Raises UserError where `open_stream` does.
    """
    if find_spec(f"{models.__name__}.{description.family}.frame_graph") is None:
        return None
    return _module(description.family, "frame_graph").frame_graph(classifier, description)


def pretrained_ids() -> dict[str, str]:
    """The ids of published classifiers, with their families."""
    return {name: family for family in FAMILIES for name in settings_class(family).PRETRAINED}


def open_pretrained(name: str, weights: str, labels: Path | None) -> Pretrained:
    """Opens a published classifier.

    Args:
      name: its id.
      weights: as `model.weights`.
      labels: a file with the names of the classes; None uses the published names.

    Raises:
      UserError: unknown id, or weights or labels that are not found, cannot be fetched, or do not fit.
    """
    known = pretrained_ids()
    if name not in known:
        raise UserError(f"--pretrained {name}: not one of {', '.join(known)}")
    return _module(known[name], "pretrained").open_pretrained(name, weights, labels)


def check_weights(model: ModelSettings) -> CheckResult:
    """Checks that `model.weights` exists and fits the network, without TensorFlow and without fetching it."""
    return _module(model.family, "check").check_weights(model)
