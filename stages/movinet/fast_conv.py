"""The Model Garden's 3D convolutions computed with 2D ones: the same layers, the same variables, far less time on a CPU.

`nn_layers.Conv3D` wraps every call in an XLA-compiled function, because TensorFlow has no grouped 3D convolution for CPUs, and
XLA's own is naive. But each 3D convolution of a MoViNet is one of two kinds that 2D operations compute exactly:

- no extent in time (1 x k x k, pointwise): a conv2d over frames, batch and time merged;
- depthwise (kt x k x k): a depthwise conv2d for each of the kt taps in time, shifted in time and summed.

Only the order of the additions differs. Variables, names and checkpoints are untouched, so published weights restore and what is
saved opens anywhere. Nothing global is changed: a model's own layers are given another `call`, one by one.
"""

import functools

import tensorflow as tf
from official.vision.modeling.layers import nn_layers

__all__ = ["use_fast_convolutions"]


def _merge_time(x: tf.Tensor) -> tf.Tensor:
    """(B, T, H, W, C) -> (B * T, H, W, C), keeping what is known of H, W and C."""
    shape = tf.shape(x)
    merged = tf.reshape(x, tf.concat([[shape[0] * shape[1]], shape[2:]], axis=0))
    return tf.ensure_shape(merged, [None, *x.shape[2:]])


def _split_time(x: tf.Tensor, frames: tf.Tensor, static_frames: int | None) -> tf.Tensor:
    """(B * T, H, W, C) -> (B, T, H, W, C)."""
    shape = tf.shape(x)
    split = tf.reshape(x, tf.concat([[-1, frames], shape[1:]], axis=0))
    return tf.ensure_shape(split, [None, static_frames, *x.shape[1:]])


def _frames_of(x: tf.Tensor) -> tf.Tensor | int:
    return x.shape[1] if x.shape[1] is not None else tf.shape(x)[1]


def _shift(x: tf.Tensor, offset: int) -> tf.Tensor:
    """Moves (B, T, ...) so that frame t holds what frame t + offset held, with zeros where there was none."""
    if offset == 0:
        return x
    frames = _frames_of(x)
    steps = tf.minimum(abs(offset), frames) if not isinstance(frames, int) else min(abs(offset), frames)
    gap = tf.zeros_like(x[:, :steps])
    return tf.concat([x[:, steps:], gap] if offset > 0 else [gap, x[:, : frames - steps]], axis=1)


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


def _finish(layer: nn_layers.Conv3D, x: tf.Tensor) -> tf.Tensor:
    if layer.use_bias:
        x = tf.nn.bias_add(x, tf.cast(layer.bias, x.dtype))
    return x if layer.activation is None else layer.activation(x)


def _spatial_call(layer: nn_layers.Conv3D, inputs: tf.Tensor) -> tf.Tensor:
    """A convolution without extent in time, as conv2d over merged batch and time."""
    kernel = tf.cast(layer.kernel[0], inputs.dtype)
    x = tf.nn.conv2d(_merge_time(inputs), kernel, strides=layer.strides[1:], padding="SAME")
    x = _finish(layer, x)
    return _split_time(x, _frames_of(inputs), inputs.shape[1])


def _depthwise_call(layer: nn_layers.Conv3D, inputs: tf.Tensor) -> tf.Tensor:
    """A depthwise convolution, one depthwise conv2d for each tap in time.

    SAME in space pads as causal padding does there: k - 1 in all at stride 1; at stride 2 both put the extra pixel at the end.
    """
    taps = layer.kernel_size[0]
    strides = (1, layer.strides[1], layer.strides[2], 1)
    merged = _merge_time(inputs)
    frames, static_frames = _frames_of(inputs), inputs.shape[1]
    buffered = layer.padding == "causal" and layer.use_buffered_input
    first = 1 - taps if layer.padding == "causal" else -((taps - 1) // 2)  # the frame, from the current one, that tap 0 sees
    total = None
    for tap in range(taps):
        kernel = tf.transpose(layer.kernel[tap], [0, 1, 3, 2])  # (kh, kw, 1, C) -> (kh, kw, C, 1)
        part = tf.nn.depthwise_conv2d(merged, tf.cast(kernel, inputs.dtype), strides=strides, padding="SAME")
        part = _split_time(part, frames, static_frames)
        part = part[:, tap : frames - (taps - 1 - tap)] if buffered else _shift(part, first + tap)
        total = part if total is None else total + part
    return _finish(layer, total)


def use_fast_convolutions(model: tf.Module) -> int:
    """Makes every 3D convolution of a built model compute with 2D operations; returns how many there were.

    Works on any tf_keras model with Model Garden `Conv3D` layers. A model of 2D convolutions (conv_type `2plus1d`) has none and
    is left as it is. Call it before the model is first traced.

    Raises:
      ValueError: a 3D convolution of a kind that MoViNets do not have; the model is left partly changed.
    """
    count = 0
    for layer in model.submodules:
        if not isinstance(layer, nn_layers.Conv3D):
            continue
        if not _supported(layer):
            raise ValueError(
                f"{layer.name}: no fast form for kernel {layer.kernel_size}, strides {layer.strides}, groups {layer.groups}, "
                f"padding {layer.padding}"
            )
        layer.call = functools.partial(_spatial_call if _is_pointwise_in_time(layer) else _depthwise_call, layer)
        count += 1
    return count
