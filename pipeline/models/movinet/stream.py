"""A stream network as it runs on a camera: frame by frame, what it must remember handed in and out by name.

It walks the Model Garden's own layers with the values they hold, and computes what they compute. What is fixed once training is
over is worked out beforehand: batch norm and residual scales go into the kernels, and shapes are constants. So the graph is
convolutions and little else: fast in TensorFlow, and simple to convert. Names and shapes of the states are the Model Garden's, so
that code written for its published models works unchanged.

Invariants: the logits after frame t are those of the whole-clip network on the frames up to t, in chunks of any size.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from official.projects.movinet.modeling import movinet_layers
from official.projects.movinet.modeling.movinet_model import MovinetClassifier

from pipeline.artifacts import ClassifierDescription
from pipeline.console import UserError
from pipeline.models.movinet.network.build import build_backbone, build_classifier
from pipeline.models.movinet.network.variants import KINETICS_CLASSES, VARIANTS, Variant
from pipeline.models.movinet.network.weights.checkpoints import find_weights, restore
from pipeline.models.movinet.settings import Settings
from pipeline.video.sampling import Sampling

States = dict[str, tf.Tensor]
STEM, HEAD, TOP = "stem", "head", "top"  # name scopes of a frame's graph; between stem and head are block0_layer0 and so on
_WAVELENGTH = 10_000.0  # of the slowest positional encoding (Vaswani et al. 2017)


class _Convolution:
    """A convolution of one layer over frames (T, H, W, C), or of a temporal layer over time, its batch norm worked in."""

    def __init__(self, layer: movinet_layers.MobileConv2D, scale: float = 1.0):
        conv, norm = layer._conv, layer._batch_norm_op
        self.depthwise, self.temporal = layer._use_depthwise, layer._use_temporal
        self.activation = getattr(
            layer._activation_op, "activation", layer._activation_op
        )  # of a Keras layer, or a function itself
        self.strides = [1, *conv.strides, 1]
        kernel = np.float64((conv.depthwise_kernel if self.depthwise else conv.kernel).numpy())
        shift = np.float64(conv.bias.numpy()) if conv.use_bias else np.zeros(kernel.shape[-2 if self.depthwise else -1])
        if norm is not None:
            factor = norm.gamma.numpy() / np.sqrt(np.float64(norm.moving_variance.numpy()) + norm.epsilon)
            kernel *= factor[:, None] if self.depthwise else factor
            shift = (shift - norm.moving_mean.numpy()) * factor + norm.beta.numpy()
        self.kernel, self.shift = np.float32(kernel * scale), np.float32(shift * scale)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        convolve = tf.nn.depthwise_conv2d if self.depthwise else tf.nn.conv2d
        x = convolve(x, self.kernel, strides=self.strides, padding="VALID" if self.temporal else "SAME")
        x = tf.nn.bias_add(x, self.shift)
        return x if self.activation is None else self.activation(x)


def _frames(x: tf.Tensor) -> tf.Tensor | int:
    return x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]


class _Buffered:
    """A convolution over time: it sees the frames that the states remember before those that it is given."""

    def __init__(self, layer: movinet_layers.MobileConv2D, name: str):
        self.convolution, self.name = _Convolution(layer), name
        self.past = layer._kernel_size[0] - 1

    def __call__(self, x: tf.Tensor, states: States) -> tf.Tensor:
        _, height, width, channels = x.shape
        frames = tf.concat([tf.reshape(states[self.name], [self.past, height, width, channels]), x], axis=0)
        states[self.name] = tf.reshape(frames[-self.past :], [1, self.past, height, width, channels])
        columns = tf.reshape(frames, [1, -1 if x.shape[0] is None else self.past + x.shape[0], height * width, channels])
        return tf.reshape(self.convolution(columns), [-1 if x.shape[0] is None else x.shape[0], height, width, channels])


class _Mean:
    """The mean over the frames so far of values (T, 1, 1, C), one a frame; the states remember their sum and number."""

    def __init__(self, prefix: str):
        self.total, self.count = f"{prefix}_pool_buffer", f"{prefix}_pool_frame_count"

    def __call__(self, x: tf.Tensor, states: States, *, last: bool) -> tf.Tensor:
        """Each frame's mean (T, 1, 1, C); with `last` only the last one's (1, 1, 1, C)."""
        frames, channels, before = _frames(x), x.shape[-1], states[self.count]
        states[self.count] = before + frames
        # The states are used in the shape they have: a converter would have 8 bits carry a sum through a reshape.
        x = tf.reshape(x, [1, -1 if x.shape[0] is None else x.shape[0], 1, 1, channels])
        single = isinstance(frames, int) and frames == 1
        if single:
            seen = tf.cast(states[self.count], tf.float32)
        else:
            seen = tf.reshape(tf.cast(before, tf.float32) + tf.cast(tf.range(1, frames + 1), tf.float32), [1, -1, 1, 1, 1])
            x = tf.cumsum(x, axis=1)
        total = states[self.total] + x
        states[self.total] = total if single else total[:, -1:]
        mean = total / seen
        mean = mean[:, -1:] if last and not single else mean
        return tf.reshape(mean, [-1 if mean.shape[1] is None else mean.shape[1], 1, 1, channels])


class _Attention:
    """Squeeze-and-excitation over space and all time so far, with the positional encoding of A3 to A5."""

    def __init__(self, layer: movinet_layers.StreamSqueezeExcitation):
        if layer._se_type != "2plus3d":
            raise ValueError(f"squeeze-and-excitation of type {layer._se_type} does not run frame by frame here")
        self.mean = _Mean(layer._state_prefix)
        self.reduce, self.expand = _Convolution(layer._se_reduce._conv), _Convolution(layer._se_expand._conv)
        self.encoding = layer._pos_encoding
        if self.encoding is not None:
            self.count = self.encoding._frame_count_name
            self.encoding_scale = np.float32(self.encoding._rezero._scale.numpy())

    def _encoded(self, x: tf.Tensor, states: States) -> tf.Tensor:
        frames, channels, before = _frames(x), x.shape[-1], states[self.count]
        states[self.count] = before + frames
        place = np.arange(channels, dtype=np.int32)
        angles = np.float32(1.0) / np.float32(_WAVELENGTH) ** (np.float32(2 * (place // 2)) / np.float32(channels))
        times = tf.cast(before, tf.float32) + tf.cast(tf.range(frames), tf.float32)  # (T,), as `before` is (1,)
        waves = tf.concat([tf.sin(times[:, tf.newaxis] * angles[0::2]), tf.cos(times[:, tf.newaxis] * angles[1::2])], axis=-1)
        return x + tf.reshape(waves * self.encoding_scale, [-1, 1, 1, channels])

    def __call__(self, x: tf.Tensor, states: States) -> tf.Tensor:
        space = tf.reduce_mean(x, axis=[1, 2], keepdims=True)
        gate = tf.concat([self.mean(space, states, last=False), space], axis=-1)
        if self.encoding is not None:
            gate = self._encoded(gate, states)
        return x * self.expand(self.reduce(gate))


class _Block:
    """An inverted bottleneck: expand, convolve in space and time, attend, project, add."""

    def __init__(self, layer: movinet_layers.MovinetBlock):
        self.name, parts = layer.name, layer._mobile_bottleneck
        feature, skip = parts._feature_layer, parts._skip_layer
        self.expand, self.spatial = _Convolution(parts._expansion_layer._conv), _Convolution(feature._conv)
        self.temporal = None
        if feature._conv_temporal is not None:
            self.temporal = _Buffered(feature._conv_temporal, feature._stream_buffer._state_name)
        self.attend = None if parts._attention_layer is None else _Attention(parts._attention_layer)
        self.project = _Convolution(parts._projection_layer._conv, scale=float(parts._rezero._scale.numpy()))
        self.skip = None if skip is None else _Convolution(skip._projection._conv)
        self.pool = skip is not None and skip._pool is not None

    def __call__(self, x: tf.Tensor, states: States) -> tf.Tensor:
        y = self.spatial(self.expand(x))
        if self.temporal is not None:
            y = self.temporal(y, states)
        if self.attend is not None:
            y = self.attend(y, states)
        if self.pool:
            x = tf.nn.avg_pool2d(x, 3, 2, "SAME")
        return self.project(y) + (x if self.skip is None else self.skip(x))


class StreamingClassifier(tf.Module):
    """A MoViNet as `family.Stream` has it. Its values are constants of its graphs: those of the classifier when this was made."""

    # Sums and means grow with the stream, and 8 bits of them are worth less and less; hard swish in int8 is several times slower
    # on x86. The stem and the first two groups of blocks are few weights, and all later layers inherit their rounding.
    float_operations = ("ADD", "AVERAGE_POOL_2D", "CAST", "DIV", "HARD_SWISH", "MEAN", "MUL", "SUB", "SUM")
    float_scopes = (STEM, "block0_", "block1_")

    def __init__(
        self,
        classifier: MovinetClassifier,
        variant: Variant,
        classes: list[str],
        *,
        fps: float,
        size: int,
        sampling: Sampling | None = None,
        views: int | None = None,
    ):
        """Takes a built and restored classifier. sampling, views: of whole clips, by which it was evaluated.

        Raises:
          UserError: not a stream variant.
        """
        super().__init__()
        _check_stream(variant)
        self.model, self.classes, self.fps, self.size = variant.id, classes, fps, size
        self.sampling, self.views = sampling, views
        backbone, top = classifier.backbone, classifier.layers[-1]
        (stem,) = [layer._stem for layer in backbone.layers if isinstance(layer, movinet_layers.Stem)]
        (head,) = [layer for layer in backbone.layers if isinstance(layer, movinet_layers.Head)]
        if stem._conv_temporal is not None:
            raise ValueError("a stem with extent in time does not run frame by frame here")
        blocks = [_Block(layer) for layer in backbone.layers if isinstance(layer, movinet_layers.MovinetBlock)]
        first, project, pool = _Convolution(stem._conv), _Convolution(head._project._conv), _Mean("state_head")
        hidden, last = _Convolution(top._head._conv), _Convolution(top._classifier._conv)
        self._specs_of = backbone.initial_state_specs
        self.state_specs = self.specs(size)

        def run(image: tf.Tensor, states: States) -> tuple[tf.Tensor, States]:
            states = dict(states)
            _, frames, height, width, channels = image.shape
            # The scopes' names are those of the layers: `float_scopes` refers to them.
            with tf.name_scope(STEM):
                x = first(tf.reshape(image, [-1 if frames is None else frames, height, width, channels]))
            for block in blocks:
                with tf.name_scope(block.name):
                    x = block(x, states)
            with tf.name_scope(HEAD):
                x = pool(tf.reduce_mean(project(x), axis=[1, 2], keepdims=True), states, last=True)
            with tf.name_scope(TOP):
                return tf.reshape(last(hidden(x)), [1, len(classes)]), states

        self.call = tf.function(run, autograph=False)

    def specs(self, size: int) -> dict[str, tf.TensorSpec]:
        """The states of frames of `size` pixels a side, sorted by name."""
        found = self._specs_of([1, 1, size, size, 3])
        return {name: tf.TensorSpec(found[name].shape, found[name].dtype, name=name) for name in sorted(found)}

    def init_states(self, size: int | None = None) -> States:
        """The states before the first frame: zeros."""
        return {name: tf.zeros(spec.shape, spec.dtype) for name, spec in self.specs(size or self.size).items()}


def _check_stream(variant: Variant) -> None:
    if not variant.stream:
        raise UserError(
            f"{variant.id} sees whole clips and cannot run frame by frame", advice=Settings.of_id(variant.id).to_stream
        )


def _restore_stream(
    variant: Variant,
    prefix: Path,
    source: str,
    classes: list[str],
    *,
    fps: float,
    size: int,
    sampling: Sampling | None = None,
    views: int | None = None,
) -> StreamingClassifier:
    classifier = build_classifier(variant, build_backbone(variant), len(classes))
    restore(classifier, prefix, source)
    return StreamingClassifier(classifier, variant, classes, fps=fps, size=size, sampling=sampling, views=views)


def open_stream(classifier: Path, description: ClassifierDescription) -> StreamingClassifier:
    """See `family.open_stream`. Raises UserError also for a network whose activation was another when it was trained."""
    variant = VARIANTS[description.model]
    _check_stream(variant)
    if description.activation not in (None, variant.activation):
        message = f"trained when {variant.id} had {description.activation} in its head, not {variant.activation}"
        raise UserError(message, advice="train it again, or run its SavedModel on whole clips")
    if not (classifier / "checkpoint").exists():
        raise UserError(
            "without its checkpoint it takes whole clips only",
            advice="to run it frame by frame, name models/classifier or a file of models/export",
        )
    return _restore_stream(
        variant,
        classifier / "ckpt-1",
        str(classifier),
        description.classes,
        fps=description.fps,
        size=description.size,
        sampling=Sampling.of(description),
        views=description.views,
    )


def pretrained_streaming(variant_id: str, weights: str, classes: list[str], size: int | None = None) -> StreamingClassifier:
    """The Kinetics-600 classifier of `weights` (as in `model.weights`), for the names in `classes`, at `size` (None: its own).

    Raises:
      UserError: weights that cannot be had or do not fit, a base network, another number of names than 600.
    """
    variant = VARIANTS[variant_id]
    _check_stream(variant)
    if len(classes) != KINETICS_CLASSES:
        raise UserError(f"{len(classes)} names of classes given, but the Kinetics-600 weights have {KINETICS_CLASSES}")
    prefix = find_weights(weights, variant)
    if prefix is None:
        raise UserError("model.weights = random has no pretrained classes", advice="name a checkpoint, or pretrained")
    size = size or variant.resolution
    return _restore_stream(variant, prefix, weights, classes, fps=float(variant.fps), size=size)
