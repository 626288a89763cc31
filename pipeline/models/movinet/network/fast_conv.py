"""Computes the Model Garden's 3D convolutions with 2D operations, which are far faster on a CPU.

`nn_layers.Conv3D` wraps every call in an XLA-compiled function, because TensorFlow has no grouped 3D convolution for CPUs, and
XLA's implementation is slow. But each 3D convolution of a MoViNet is of one of two kinds, which 2D operations compute exactly:

- no temporal extent (1 x k x k, pointwise): a conv2d over frames, with batch and time merged;
- depthwise (kt x k x k): a depthwise conv2d for each of the kt temporal taps, shifted in time and summed.

These operations are limited by memory bandwidth, so each pass over a feature map matters. A tap is therefore computed only for
the frames that it reaches, and a frozen batch norm is folded into kernel and bias.

In training, the gradients of convolutions and the activations of large feature maps are replaced as well (`fast_gradients`), also
in networks of 2D convolutions (conv_type `2plus1d`). Inference of the latter is not changed, because it is exported.

Invariants: the result differs from the Model Garden's only by the order of operations. Variables, their names and checkpoints do
not change. Nothing global is changed: `use_fast_convolutions` replaces `call` of the layers of one model.
"""

import functools
from collections.abc import Callable

import tensorflow as tf
import tf_keras
from official.projects.movinet.modeling.movinet_layers import ConvBlock, MobileConv2D
from official.vision.modeling.layers import nn_layers
from tf_keras.src.engine import base_layer_utils

from pipeline.models.movinet.network.fast_gradients import depthwise_conv2d, fused, is_large, pointwise_conv2d, slice_frames

__all__ = ["use_fast_convolutions"]

FUSED_ACTIVATIONS = ("swish", "hard_swish")  # others are a single operation


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


def _conv2d(x: tf.Tensor, kernel: tf.Tensor, stride: int) -> tf.Tensor:
    """(N, H, W, I), (kh, kw, I, O) -> (N, H', W', O), with SAME padding."""
    if stride == 1 and kernel.shape[:2] == (1, 1):
        return pointwise_conv2d(x, kernel)
    return tf.nn.conv2d(x, kernel, stride, "SAME")


def _depthwise_conv2d(x: tf.Tensor, kernel: tf.Tensor, stride: int) -> tf.Tensor:
    """(N, H, W, C), (kh, kw, C, 1) -> (N, H', W', C), with SAME padding."""
    if stride == 1 and kernel.shape[0] % 2 and kernel.shape[1] % 2:
        return depthwise_conv2d(x, kernel)
    return tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), "SAME")


def _spatial(layer: nn_layers.Conv3D, inputs: tf.Tensor, scale: tf.Tensor | None, shift: tf.Tensor | None) -> tf.Tensor:
    """A convolution without temporal extent, as a conv2d with batch and time merged."""
    kernel = tf.cast(layer.kernel[0], inputs.dtype)
    kernel = kernel if scale is None else kernel * scale
    x = _conv2d(_merge_time(inputs), kernel, layer.strides[1])
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
        y = _depthwise_conv2d(_merge_time(x), kernels[tap], layer.strides[1])
        if shift is not None and tap == -first:
            y = tf.nn.bias_add(y, shift)  # only this tap is certain to reach every frame
        return _split_time(y, count)

    def convolve_range(tap: int, start: int, count: tf.Tensor | int) -> tf.Tensor:
        """Applies `tap` to `count` frames from `start`. With strides the slice is taken of the output, which is smaller."""
        if layer.strides[1] > 1:
            return slice_frames(convolve(inputs, tap, input_frames), start, count)
        return convolve(slice_frames(inputs, start, count), tap, count)

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
        return _convolve(layer, inputs, *_scale_and_shift(norm))
    x = _convolve(layer, inputs, None, tf.cast(layer.bias, inputs.dtype) if layer.use_bias else None)
    return x if _is_linear(layer) else layer.activation(x)


def _norm_call(norm: tf_keras.layers.BatchNormalization, stock, inputs: tf.Tensor, training=None) -> tf.Tensor:
    return inputs if _is_folded(norm, inputs) else stock(inputs, training=training)


def _layer_2d_call(
    layer: nn_layers.Conv2D | nn_layers.DepthwiseConv2D,
    norm: tf_keras.layers.BatchNormalization | None,
    stock: Callable[[tf.Tensor], tf.Tensor],
    inputs: tf.Tensor,
) -> tf.Tensor:
    if not _in_training() or inputs.dtype != tf.float32:
        return stock(inputs)
    scale, shift = _scale_and_shift(norm) if _is_folded(norm, inputs) else (None, layer.bias if layer.use_bias else None)
    if isinstance(layer, nn_layers.DepthwiseConv2D):
        kernel = layer.depthwise_kernel if scale is None else layer.depthwise_kernel * scale[:, tf.newaxis]
        if layer.padding == "same":
            x = _depthwise_conv2d(inputs, kernel, layer.strides[0])
        else:  # over frames, with a buffer
            x = depthwise_conv2d(inputs, kernel, padding="VALID")
    else:
        x = _conv2d(inputs, layer.kernel if scale is None else layer.kernel * scale, layer.strides[0])
    x = x if shift is None else tf.nn.bias_add(x, shift)
    return x if _is_linear(layer) else layer.activation(x)


def _norm_2d_call(norm: tf_keras.layers.BatchNormalization, stock, inputs: tf.Tensor, training=None) -> tf.Tensor:
    return inputs if _in_training() and _is_folded(norm, inputs) else stock(inputs, training=training)


def _pool_call(layer: tf_keras.layers.AveragePooling3D, inputs: tf.Tensor) -> tf.Tensor:
    """Average pooling without temporal extent, with batch and time merged."""
    x = tf.nn.avg_pool2d(_merge_time(inputs), layer.pool_size[1:], layer.strides[1:], layer.padding.upper())
    return _split_time(x, _frames_of(inputs))


def _activation_call(layer: tf_keras.layers.Activation, stock: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor) -> tf.Tensor:
    if _in_training() and inputs.dtype == tf.float32 and is_large(inputs):
        return fused(layer.activation)(inputs)
    return stock(inputs)


def _in_training() -> bool:
    """Whether the model is being called in training mode."""
    training = base_layer_utils.call_context().training
    return training is not None and not tf.is_tensor(training) and bool(training)


def _scale_and_shift(norm: tf_keras.layers.BatchNormalization) -> tuple[tf.Tensor, tf.Tensor]:
    """The batch norm with its moving statistics is x * scale + shift."""
    scale = norm.gamma * tf.math.rsqrt(norm.moving_variance + norm.epsilon)
    return scale, norm.beta - norm.moving_mean * scale


def _is_folded(norm: tf_keras.layers.BatchNormalization | None, x: tf.Tensor) -> bool:
    """Whether `norm` is folded into the convolution before it: in the current call it uses its moving statistics.

    Not in lower precision than float32, where rounding the scaled kernel would give other results than the Model Garden's.
    """
    if norm is None or x.dtype != tf.float32:
        return False
    training = base_layer_utils.call_context().training
    return not norm.trainable or (training is not None and not tf.is_tensor(training) and not training)


def _norms(model: tf.Module) -> dict[tf_keras.layers.Layer, tf_keras.layers.BatchNormalization]:
    """The batch norm that directly follows a convolution, by convolution."""
    pairs = []
    for block in model.submodules:
        if isinstance(block, ConvBlock):
            pairs += [(block._conv, block._batch_norm), (block._conv_temporal, block._batch_norm_temporal)]
    pairs = [(conv._conv if isinstance(conv, MobileConv2D) else conv, norm) for conv, norm in pairs]
    return {conv: norm for conv, norm in pairs if norm is not None and not conv.use_bias and _is_linear(conv)}


def _supported_2d(layer: tf_keras.layers.Layer) -> bool:
    """Whether it is one of the 2D convolutions of a MoViNet: in space, or depthwise over the frames of a buffer."""
    if not isinstance(layer, nn_layers.Conv2D | nn_layers.DepthwiseConv2D) or layer.data_format != "channels_last":
        return False
    if tuple(layer.dilation_rate) != (1, 1) or layer.strides[0] != layer.strides[1]:
        return False
    if isinstance(layer, nn_layers.Conv2D):
        return layer.padding == "same" and layer.groups == 1
    buffered = layer._is_causal and layer.use_buffered_input and layer.kernel_size[1] == 1 and layer.strides[0] == 1
    return layer.depth_multiplier == 1 and (layer.padding == "same" or buffered)


def use_fast_convolutions(model: tf.Module) -> int:
    """Makes every 3D convolution of a built model use 2D operations, and training faster; returns the number of 3D convolutions.

    It accepts any tf_keras model with Model Garden layers. Layers that are already fast are not changed. Call it before the model
    is first traced.

    Raises:
      ValueError: a 3D convolution of a kind that MoViNets do not have. Layers before it have been changed.
    """
    norms, count = _norms(model), 0
    for layer in model.submodules:
        if isinstance(layer, nn_layers.Conv3D):
            if not _supported(layer):
                raise ValueError(
                    f"{layer.name}: no fast form for kernel {layer.kernel_size}, strides {layer.strides}, groups {layer.groups}, "
                    f"padding {layer.padding}"
                )
            count += 1
        if isinstance(getattr(layer, "call", None), functools.partial):  # by an earlier call of this function
            continue
        norm = norms.get(layer)
        if isinstance(layer, nn_layers.Conv3D):
            layer.call = functools.partial(_layer_call, layer, norm)
            if norm is not None:
                norm.call = functools.partial(_norm_call, norm, norm.call)
        elif _supported_2d(layer):
            layer.call = functools.partial(_layer_2d_call, layer, norm, layer.call)
            if norm is not None:
                norm.call = functools.partial(_norm_2d_call, norm, norm.call)
        elif isinstance(layer, tf_keras.layers.AveragePooling3D) and layer.pool_size[0] == layer.strides[0] == 1:
            layer.call = functools.partial(_pool_call, layer)
        elif isinstance(layer, tf_keras.layers.Activation) and layer.activation.__name__ in FUSED_ACTIVATIONS:
            layer.call = functools.partial(_activation_call, layer, layer.call)
    return count
