"""Computes the Model Garden's 3D convolutions with 2D operations, which are far faster on a CPU.

`nn_layers.Conv3D` wraps every call in an XLA-compiled function, because TensorFlow has no grouped 3D convolution for CPUs, and
XLA's implementation is slow. But each 3D convolution of a MoViNet is of one of two kinds, which 2D operations compute exactly:

- no temporal extent (1 x k x k, pointwise): a conv2d over frames, with batch and time merged;
- depthwise (kt x k x k): a depthwise conv2d for each of the kt temporal taps, shifted in time and summed.

These operations are limited by memory bandwidth, so each pass over a feature map matters. A tap is therefore computed only for
the frames that it reaches, and a frozen batch norm is folded into kernel and bias.

Invariants: the result differs from the Model Garden's only by the order of operations. Variables, their names and checkpoints do
not change. Nothing global is changed: `use_fast_convolutions` replaces `call` of the layers of one model.
"""

import functools

import tensorflow as tf
import tf_keras
from official.projects.movinet.modeling.movinet_layers import ConvBlock
from official.vision.modeling.layers import nn_layers
from tf_keras.src.engine import base_layer_utils

__all__ = ["use_fast_convolutions"]


def _merge_time(x: tf.Tensor) -> tf.Tensor:
    """(B, T, H, W, C) -> (B * T, H, W, C), keeping the static values of H, W and C."""
    if None not in x.shape[2:]:
        return tf.reshape(x, [-1, *x.shape[2:]])
    merged = tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], axis=0))
    return tf.ensure_shape(merged, [None, *x.shape[2:]])


def _split_time(x: tf.Tensor, frames: tf.Tensor | int) -> tf.Tensor:
    """(B * T, H, W, C) -> (B, T, H, W, C)."""
    known = frames if isinstance(frames, int) else None
    if None not in [known, *x.shape[1:]]:
        return tf.reshape(x, [-1, frames, *x.shape[1:]])
    split = tf.reshape(x, tf.concat([[-1, frames], tf.shape(x)[1:]], axis=0))
    return tf.ensure_shape(split, [None, known, *x.shape[1:]])


def _frames_of(x: tf.Tensor) -> tf.Tensor | int:
    return x.shape[1] if x.shape[1] is not None else tf.shape(x)[1]


def _is_pointwise_in_time(layer: nn_layers.Conv3D) -> bool:
    return layer.kernel_size[0] == 1 and layer.groups == 1


def _is_depthwise(layer: nn_layers.Conv3D) -> bool:
    return layer.groups == layer.filters and layer.kernel.shape[-2] == 1


def _supported(layer: nn_layers.Conv3D) -> bool:
    return (
        layer.data_format == "channels_last"
        and tuple(layer.dilation_rate) == (1, 1, 1)
        and layer.strides[0] == 1
        and layer.strides[1] == layer.strides[2]
        and layer.padding in ("same", "causal")
        and (_is_pointwise_in_time(layer) or _is_depthwise(layer))
    )


def _is_linear(layer: nn_layers.Conv3D) -> bool:
    return layer.activation in (None, tf_keras.activations.linear)


def _spatial(layer: nn_layers.Conv3D, inputs: tf.Tensor, scale: tf.Tensor | None, shift: tf.Tensor | None) -> tf.Tensor:
    """A convolution without temporal extent, as a conv2d with batch and time merged."""
    kernel = tf.cast(layer.kernel[0], inputs.dtype)
    kernel = kernel if scale is None else kernel * scale
    x = tf.nn.conv2d(_merge_time(inputs), kernel, strides=layer.strides[1:], padding="SAME")
    x = x if shift is None else tf.nn.bias_add(x, shift)
    return _split_time(x, _frames_of(inputs))


def _depthwise(layer: nn_layers.Conv3D, inputs: tf.Tensor, scale: tf.Tensor | None, shift: tf.Tensor | None) -> tf.Tensor:
    """A depthwise convolution, as one depthwise conv2d for each temporal tap.

    In space, SAME equals the padding of causal layers: k - 1 in total at stride 1; at stride 2 the extra pixel is at the end.
    """
    taps = layer.kernel_size[0]
    first = 1 - taps if layer.padding == "causal" else -((taps - 1) // 2)  # offset in frames of tap 0 from the current frame
    padded = layer.padding == "causal" and layer.use_buffered_input
    if not padded and inputs.shape[1] is None:
        inputs = tf.pad(inputs, [[0, 0], [-first, taps - 1 + first], [0, 0], [0, 0], [0, 0]])
        padded = True
    input_frames = _frames_of(inputs)
    frames = input_frames - (taps - 1) if padded else input_frames
    kernels = tf.cast(tf.transpose(layer.kernel, [0, 1, 2, 4, 3]), inputs.dtype)  # (kt, kh, kw, 1, C) -> (kt, kh, kw, C, 1)
    kernels = kernels if scale is None else kernels * scale[:, tf.newaxis]

    def convolve(x: tf.Tensor, tap: int, count: tf.Tensor | int) -> tf.Tensor:
        y = tf.nn.depthwise_conv2d(_merge_time(x), kernels[tap], strides=(1, *layer.strides[1:], 1), padding="SAME")
        if shift is not None and tap == -first:
            y = tf.nn.bias_add(y, shift)  # only this tap is certain to reach every frame
        return _split_time(y, count)

    def convolve_range(tap: int, start: int, count: tf.Tensor | int) -> tf.Tensor:
        """Applies `tap` to `count` frames from `start`. With strides the slice is taken of the output, which is smaller."""
        if layer.strides[1] > 1:
            return convolve(inputs, tap, input_frames)[:, start : start + count]
        return convolve(inputs[:, start : start + count], tap, count)

    if padded:
        return tf.add_n([convolve_range(tap, tap, frames) for tap in range(taps)])
    parts = []
    for tap in range(taps):
        early, late = max(-first - tap, 0), max(first + tap, 0)  # numbers of first and last frames that the tap does not reach
        if early + late >= frames:
            continue
        if early + late == 0:
            parts.append(convolve(inputs, tap, frames))
            continue
        part = convolve_range(tap, late, frames - early - late)
        shape = tf.shape(part)
        gap = tf.zeros(tf.concat([shape[:1], [early + late], shape[2:]], axis=0), part.dtype)
        parts.append(tf.concat([gap, part] if early else [part, gap], axis=1))
    return tf.add_n(parts)


def _convolve(layer: nn_layers.Conv3D, inputs: tf.Tensor, scale: tf.Tensor | None, shift: tf.Tensor | None) -> tf.Tensor:
    """The convolution without bias and activation, times `scale`, plus `shift`, both (C,) or None."""
    return (_spatial if _is_pointwise_in_time(layer) else _depthwise)(layer, inputs, scale, shift)


def _layer_call(layer: nn_layers.Conv3D, norm: tf_keras.layers.BatchNormalization | None, inputs: tf.Tensor) -> tf.Tensor:
    if _is_folded(norm, inputs):
        scale = norm.gamma * tf.math.rsqrt(norm.moving_variance + norm.epsilon)
        return _convolve(layer, inputs, scale, norm.beta - norm.moving_mean * scale)
    x = _convolve(layer, inputs, None, tf.cast(layer.bias, inputs.dtype) if layer.use_bias else None)
    return x if _is_linear(layer) else layer.activation(x)


def _norm_call(norm: tf_keras.layers.BatchNormalization, stock, inputs: tf.Tensor, training=None) -> tf.Tensor:
    return inputs if _is_folded(norm, inputs) else stock(inputs, training=training)


def _is_folded(norm: tf_keras.layers.BatchNormalization | None, x: tf.Tensor) -> bool:
    """Whether `norm` is folded into the convolution before it: in the current call it uses its moving statistics.

    Not in lower precision than float32, where rounding the scaled kernel would give other results than the Model Garden's.
    """
    if norm is None or x.dtype != tf.float32:
        return False
    training = base_layer_utils.call_context().training
    return not norm.trainable or (training is not None and not tf.is_tensor(training) and not training)


def _norms(model: tf.Module) -> dict[nn_layers.Conv3D, tf_keras.layers.BatchNormalization]:
    """The batch norm that directly follows a convolution, by convolution."""
    norms = {}
    for block in model.submodules:
        if isinstance(block, ConvBlock):
            for conv, norm in ((block._conv, block._batch_norm), (block._conv_temporal, block._batch_norm_temporal)):
                if isinstance(conv, nn_layers.Conv3D) and norm is not None and not conv.use_bias and _is_linear(conv):
                    norms[conv] = norm
    return norms


def use_fast_convolutions(model: tf.Module) -> int:
    """Makes every 3D convolution of a built model use 2D operations; returns their number.

    It accepts any tf_keras model with Model Garden `Conv3D` layers. Models without such layers (conv_type `2plus1d`) and layers
    that are already fast are not changed. Call it before the model is first traced.

    Raises:
      ValueError: a 3D convolution of a kind that MoViNets do not have. Layers before it have been changed.
    """
    norms, count = _norms(model), 0
    for layer in model.submodules:
        if not isinstance(layer, nn_layers.Conv3D):
            continue
        if not _supported(layer):
            raise ValueError(
                f"{layer.name}: no fast form for kernel {layer.kernel_size}, strides {layer.strides}, groups {layer.groups}, "
                f"padding {layer.padding}"
            )
        count += 1
        if isinstance(layer.call, functools.partial):  # by an earlier call of this function
            continue
        norm = norms.get(layer)
        layer.call = functools.partial(_layer_call, layer, norm)
        if norm is not None:
            norm.call = functools.partial(_norm_call, norm, norm.call)
    return count
