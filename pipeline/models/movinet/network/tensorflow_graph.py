"""Builds a MoViNet's backbone in TensorFlow from the values of a checkpoint.

The Model Garden's network is not used, because building, tracing and saving it takes seconds.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from pipeline.models.movinet.network.activations import ACTIVATIONS
from pipeline.models.movinet.network.folded import FoldedNetwork, positional_encoding
from pipeline.models.movinet.network.variants import Variant


def features(values: Mapping[str, np.ndarray], variant: Variant, views: tf.Tensor) -> tf.Tensor:
    """Views float32 (N, T, H, W, 3) in [0, 1], of which only N may be unknown -> features float32 (N, P).

    values: see `backbone_values`.
    """
    return _TensorflowNetwork(values, variant, views.shape[1]).features(views)


def _merge_time(x: tf.Tensor) -> tf.Tensor:
    """(N, T, H, W, C) -> (N * T, H, W, C)."""
    return tf.reshape(x, [-1, *x.shape[2:]])


class _TensorflowNetwork(FoldedNetwork[tf.Tensor]):
    """Feature maps are (N, T, H, W, C); pooled over space, (N, T, 1, 1, C).

    All convolutions are 2D: a depthwise one over kt frames is a sum of kt 2D convolutions, shifted in time; see `fast_conv`.
    """

    def _convolve(self, x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray, activation: str | None, stride: int) -> tf.Tensor:
        parts, count = [], x.shape[1]
        for offset, tap in self._taps(kernel):
            frames = x
            if offset and stride == 1:  # with larger strides the result is sliced instead, as it is smaller
                frames = x[:, max(offset, 0) : count + min(offset, 0)]
            merged, weights = _merge_time(frames), np.float32(tap)
            if tap.shape[2] == 1:
                part = tf.nn.depthwise_conv2d(merged, weights.swapaxes(2, 3), [1, stride, stride, 1], "SAME")
            else:
                part = tf.nn.conv2d(merged, weights, stride, "SAME")
            if not offset:  # this tap reaches every frame
                part = tf.nn.bias_add(part, np.float32(bias))
                if len(kernel) == 1 and activation is not None:  # directly after it, so that TensorFlow can fuse them
                    part = ACTIVATIONS[activation](part)
            part = tf.reshape(part, [-1, frames.shape[1], *part.shape[1:]])
            if offset:
                if stride > 1:
                    part = part[:, max(offset, 0) : count + min(offset, 0)]
                part = tf.pad(part, [[0, 0], [max(-offset, 0), max(offset, 0)], [0, 0], [0, 0], [0, 0]])
            parts.append(part)
        if len(kernel) == 1:
            return parts[0]
        y = tf.add_n(parts)
        return y if activation is None else ACTIVATIONS[activation](y)

    def _convolve_over_time(self, x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray, activation: str) -> tf.Tensor:
        count, height, width, channels = x.shape[1:]
        before = self._frames_before(kernel)
        pixels = tf.reshape(x, [-1, count, height * width, channels])
        padded = tf.pad(pixels, [[0, 0], [before, len(kernel) - 1 - before], [0, 0], [0, 0]])
        weights = np.float32(kernel).reshape(-1, 1, channels, 1)
        y = tf.nn.bias_add(tf.nn.depthwise_conv2d(padded, weights, [1, 1, 1, 1], "VALID"), np.float32(bias))
        return tf.reshape(ACTIVATIONS[activation](y), [-1, count, height, width, channels])

    def _average_pool(self, x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.avg_pool2d(_merge_time(x), 3, 2, "SAME")
        return tf.reshape(y, [-1, x.shape[1], *y.shape[1:]])

    def _mean(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(x, [1, 2, 3], keepdims=True)

    def _mean_over_space(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(x, [2, 3], keepdims=True)

    def _cumulative_mean(self, x: tf.Tensor) -> tf.Tensor:
        number = np.arange(1, self._count + 1, dtype=np.float32)[:, np.newaxis]
        means = tf.matmul(np.tri(self._count, dtype=np.float32) / number, x[:, :, 0, 0])  # (T, T) x (N, T, C)
        return means[:, :, tf.newaxis, tf.newaxis]

    def _add_positional_encoding(self, x: tf.Tensor, scale: np.float32) -> tf.Tensor:
        return x + scale * positional_encoding(self._count, x.shape[-1])[:, np.newaxis, np.newaxis]

    def _concatenate(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.concat([x, y], axis=-1)

    def _flatten(self, x: tf.Tensor) -> tf.Tensor:
        return x[:, 0, 0, 0]
