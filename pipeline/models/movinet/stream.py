"""Runs a stream network frame by frame, with its states as named inputs and outputs.

The graph is built from the weights of the Model Garden's layers. Batch norm and residual scales are folded into the kernels, and
shapes are constants, so the graph consists almost only of convolutions: it is fast in TensorFlow and easy to convert. Names and
shapes of the states are the Model Garden's, so code for its published models works unchanged.

Invariants: the logits after frame t are those of the whole-clip network on the frames up to t, for chunks of any size.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from official.projects.movinet.modeling import movinet_layers
from official.projects.movinet.modeling.movinet_model import MovinetClassifier

from pipeline.artifacts import ClassifierDescription, Decision
from pipeline.console import UserError
from pipeline.models.movinet.network.build import build_backbone, build_classifier
from pipeline.models.movinet.network.variants import KINETICS_CLASSES, VARIANTS, Variant
from pipeline.models.movinet.network.weights.checkpoints import restore
from pipeline.models.movinet.network.weights.finding import find_weights
from pipeline.models.movinet.settings import check_stream, check_stream_variant
from pipeline.video.sampling import Sampling

States = dict[str, tf.Tensor]
STEM, HEAD, TOP = "stem", "head", "top"  # name scopes of the graph; the blocks between stem and head have their layers' names
_WAVELENGTH = 10_000.0  # the base of the positional encoding (Vaswani et al. 2017)


class _Convolution:
    """A convolution of frames (T, H, W, C), or over the time axis of a temporal layer, with its batch norm folded in.

    scale: a factor of the output, folded in too.
    """

    def __init__(self, layer: movinet_layers.MobileConv2D, scale: float = 1.0):
        conv, norm = layer._conv, layer._batch_norm_op
        self.depthwise, self.temporal = layer._use_depthwise, layer._use_temporal
        self.activation = getattr(layer._activation_op, "activation", layer._activation_op)  # of a layer, or the function itself
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
    """A causal convolution over time. The state holds the last frames of its earlier inputs."""

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
    """The running mean over frames of values (T, 1, 1, C). The states hold their sum and their number."""

    def __init__(self, prefix: str):
        self.total, self.count = f"{prefix}_pool_buffer", f"{prefix}_pool_frame_count"

    def __call__(self, x: tf.Tensor, states: States, *, last: bool) -> tf.Tensor:
        """The mean after each frame (T, 1, 1, C); with `last` only after the last one (1, 1, 1, C)."""
        frames, channels, before = _frames(x), x.shape[-1], states[self.count]
        states[self.count] = before + frames
        # The states are not reshaped, because a converter would quantise the sum to int8 for a reshape.
        x = tf.reshape(x, [1, -1 if x.shape[0] is None else x.shape[0], 1, 1, channels])
        single = isinstance(frames, int) and frames == 1
        if single:
            number = tf.cast(states[self.count], tf.float32)
        else:
            number = tf.reshape(tf.cast(before, tf.float32) + tf.cast(tf.range(1, frames + 1), tf.float32), [1, -1, 1, 1, 1])
            x = tf.cumsum(x, axis=1)
        total = states[self.total] + x
        states[self.total] = total if single else total[:, -1:]
        mean = total / number
        mean = mean[:, -1:] if last and not single else mean
        return tf.reshape(mean, [-1 if mean.shape[1] is None else mean.shape[1], 1, 1, channels])


class _Attention:
    """Squeeze-and-excitation over space and all frames so far, with the positional encoding of A3 to A5."""

    def __init__(self, layer: movinet_layers.StreamSqueezeExcitation):
        if layer._se_type != "2plus3d":
            raise ValueError(f"squeeze-and-excitation of type {layer._se_type} is not supported frame by frame")
        self.mean = _Mean(layer._state_prefix)
        self.reduce, self.expand = _Convolution(layer._se_reduce._conv), _Convolution(layer._se_expand._conv)
        self.encoding = layer._pos_encoding
        if self.encoding is not None:
            self.count = self.encoding._frame_count_name
            self.encoding_scale = np.float32(self.encoding._rezero._scale.numpy())

    def _add_encoding(self, x: tf.Tensor, states: States) -> tf.Tensor:
        frames, channels, before = _frames(x), x.shape[-1], states[self.count]
        states[self.count] = before + frames
        channel = np.arange(channels, dtype=np.int32)
        angles = np.float32(1.0) / np.float32(_WAVELENGTH) ** (np.float32(2 * (channel // 2)) / np.float32(channels))
        times = tf.cast(before, tf.float32) + tf.cast(tf.range(frames), tf.float32)  # (T,), as `before` is (1,)
        waves = tf.concat([tf.sin(times[:, tf.newaxis] * angles[0::2]), tf.cos(times[:, tf.newaxis] * angles[1::2])], axis=-1)
        return x + tf.reshape(waves * self.encoding_scale, [-1, 1, 1, channels])

    def __call__(self, x: tf.Tensor, states: States) -> tf.Tensor:
        space = tf.reduce_mean(x, axis=[1, 2], keepdims=True)
        gate = tf.concat([self.mean(space, states, last=False), space], axis=-1)
        if self.encoding is not None:
            gate = self._add_encoding(gate, states)
        return x * self.expand(self.reduce(gate))


class _Block:
    """An inverted bottleneck: expansion, convolution in space and time, squeeze-and-excitation, projection, residual addition."""

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
    """Implements `family.Stream`. The graphs contain the classifier's current weights as constants."""

    # Running sums grow with the stream, so their int8 resolution gets worse; hard swish in int8 is several times slower on x86.
    # The stem and the first two groups of blocks have few weights, and their rounding errors reach all later layers.
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
        decision: Decision | None = None,
    ):
        """Converts a built and restored classifier.

        Args:
          sampling, views: of whole clips, as in evaluation; None if unknown. decision: see `family.Stream`.

        Raises:
          UserError: `variant` is not a stream variant.
        """
        super().__init__()
        check_stream_variant(variant)
        self.model, self.classes, self.fps, self.size = variant.id, classes, fps, size
        self.sampling, self.views, self.decision = sampling, views, decision
        backbone, top = classifier.backbone, classifier.layers[-1]
        (stem,) = [layer._stem for layer in backbone.layers if isinstance(layer, movinet_layers.Stem)]
        (head,) = [layer for layer in backbone.layers if isinstance(layer, movinet_layers.Head)]
        if stem._conv_temporal is not None:
            raise ValueError("a stem with a temporal kernel is not supported frame by frame")
        blocks = [_Block(layer) for layer in backbone.layers if isinstance(layer, movinet_layers.MovinetBlock)]
        first, project, pool = _Convolution(stem._conv), _Convolution(head._project._conv), _Mean("state_head")
        hidden, last = _Convolution(top._head._conv), _Convolution(top._classifier._conv)
        self._specs_of = backbone.initial_state_specs
        self.state_specs = self.specs(size)

        def run(image: tf.Tensor, states: States) -> tuple[tf.Tensor, States]:
            states = dict(states)
            _, frames, height, width, channels = image.shape
            # `float_scopes` refers to these scopes.
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
        """The specs of the states for frames of side `size`, sorted by name."""
        specs = self._specs_of([1, 1, size, size, 3])
        return {name: tf.TensorSpec(specs[name].shape, specs[name].dtype, name=name) for name in sorted(specs)}

    def init_states(self, size: int | None = None) -> States:
        """The states before the first frame, all zero."""
        return {name: tf.zeros(spec.shape, spec.dtype) for name, spec in self.specs(size or self.size).items()}


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
    decision: Decision | None = None,
) -> StreamingClassifier:
    classifier = build_classifier(variant, build_backbone(variant), len(classes))
    restore(classifier, prefix, source)
    return StreamingClassifier(
        classifier, variant, classes, fps=fps, size=size, sampling=sampling, views=views, decision=decision
    )


def open_stream(classifier: Path, description: ClassifierDescription) -> StreamingClassifier:
    """Implements `family.open_stream`. Also raises UserError if the network was trained with another activation in its head."""
    variant = VARIANTS[description.model]
    check_stream(classifier, description)
    return _restore_stream(
        variant,
        classifier / "ckpt-1",
        str(classifier),
        description.classes,
        fps=description.fps,
        size=description.size,
        sampling=Sampling.of(description),
        views=description.views,
        decision=description.decision,
    )


def pretrained_streaming(variant_id: str, weights: str, classes: list[str], size: int | None = None) -> StreamingClassifier:
    """Opens a Kinetics-600 classifier frame by frame.

    Args:
      weights: as `model.weights`.
      classes: the names of the 600 classes.
      size: side of the frames in pixels; None is the variant's own.

    Raises:
      UserError: the weights are not found, cannot be fetched or do not fit, the variant is not a stream variant, or `classes`
        does not have 600 names.
    """
    variant = VARIANTS[variant_id]
    check_stream_variant(variant)
    if len(classes) != KINETICS_CLASSES:
        raise UserError(f"{len(classes)} names of classes given, but the Kinetics-600 weights have {KINETICS_CLASSES}")
    prefix = find_weights(weights, variant)
    if prefix is None:
        raise UserError("model.weights = random has no pretrained classes", advice="name a checkpoint, or pretrained")
    size = size or variant.resolution
    return _restore_stream(variant, prefix, weights, classes, fps=float(variant.fps), size=size)
