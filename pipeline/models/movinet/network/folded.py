"""The architecture of a MoViNet's backbone for inference, shared by all engines and built from the values of a checkpoint.

Each engine has a subclass of `FoldedNetwork` that implements its operations. Batch norms and residual scales are folded into
kernels and biases.

Invariants: the features equal those of the Model Garden's network up to rounding; tests compare every variant. This module does
not import TensorFlow.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np

from pipeline.models.movinet.network.variants import Variant

Array = TypeVar("Array")  # an engine's feature map, which has the operators + and *

# Number of blocks in each group (official/projects/movinet/modeling/movinet.py, BLOCK_SPECS). The first block of a group halves
# height and width, except in group 3.
_GROUPS = {
    "a0": (1, 3, 3, 4, 4),
    "a1": (2, 4, 5, 6, 7),
    "a2": (3, 5, 5, 6, 7),
    "a3": (4, 6, 5, 8, 10),
    "a4": (6, 9, 9, 10, 13),
    "a5": (6, 11, 13, 11, 18),
}
_UNSTRIDED_GROUP = 3
_BATCH_NORM_EPSILON = 0.001
_WAVELENGTH = 10_000.0  # of the positional encoding


def block_strides(variant: Variant) -> list[int]:
    """The spatial stride of each block."""
    return [
        2 if number == 0 and group != _UNSTRIDED_GROUP else 1
        for group, count in enumerate(_GROUPS[variant.family])
        for number in range(count)
    ]


def encoding_frequencies(channels: int) -> np.ndarray:
    """Radians per frame of each channel of the positional encoding, (channels,); see `positional_encoding`."""
    channel = np.arange(channels)
    return np.float32(1.0) / np.float32(_WAVELENGTH) ** (np.float32(2 * (channel // 2)) / np.float32(channels))


def positional_encoding(frames: int, channels: int) -> np.ndarray:
    """(frames, channels): sines of the frame's number, then cosines, as `nn_layers.PositionalEncoding` orders them."""
    frequencies, times = encoding_frequencies(channels), np.arange(frames, dtype=np.float32)[:, np.newaxis]
    return np.concatenate([np.sin(times * frequencies[0::2]), np.cos(times * frequencies[1::2])], axis=1)


class FoldedNetwork(ABC, Generic[Array]):
    """Builds the backbone of `variant` in an engine.

    Args:
      values: see `backbone_values`.
      count: number of frames T of a view.
    """

    def __init__(self, values: Mapping[str, np.ndarray], variant: Variant, count: int):
        self._values, self._variant, self._count = values, variant, count

    def features(self, views: Array) -> Array:
        """The features (N, P) of views as feature maps of three channels."""
        strides, activation = block_strides(self._variant), self._variant.builder["activation"]
        x = self._convolution(views, "layer_with_weights-0/_stem", activation, stride=2)
        for number, stride in enumerate(strides, 1):
            x = self._block(x, f"layer_with_weights-{number}", stride)
        x = self._convolution(x, f"layer_with_weights-{len(strides) + 1}/_project", activation)
        return self._flatten(self._mean(x))

    @abstractmethod
    def _convolve(self, x: Array, kernel: np.ndarray, bias: np.ndarray, activation: str | None, stride: int) -> Array:
        """activation(convolution + bias) with SAME padding. In time, stream networks pad only before the first frame.

        Args:
          kernel: (kt, kh, kw, in, out) with kt = 1, or (kt, kh, kw, 1, C) if it is depthwise. bias: (out,) or (C,).
          stride: in space.
        """

    def _convolve_over_time(self, x: Array, kernel: np.ndarray, bias: np.ndarray, activation: str) -> Array:
        """`_convolve` with a kernel (kt, 1, 1, 1, C)."""
        return self._convolve(x, kernel, bias, activation, 1)

    @abstractmethod
    def _average_pool(self, x: Array) -> Array:
        """Average pooling over 3 x 3 pixels with stride 2 and SAME padding, which is excluded from the averages."""

    @abstractmethod
    def _mean(self, x: Array) -> Array:
        """The mean over space and the view, for each channel."""

    @abstractmethod
    def _mean_over_space(self, x: Array) -> Array:
        """The mean over space, for each frame and channel."""

    @abstractmethod
    def _cumulative_mean(self, x: Array) -> Array:
        """The mean over all frames up to each frame, of maps that are pooled over space."""

    @abstractmethod
    def _add_positional_encoding(self, x: Array, scale: np.float32) -> Array:
        """Adds `scale` times the positional encoding of the frames to maps that are pooled over space."""

    @abstractmethod
    def _concatenate(self, x: Array, y: Array) -> Array:
        """The channels of `x`, then those of `y`."""

    @abstractmethod
    def _flatten(self, x: Array) -> Array:
        """The result of `_mean` as (N, C)."""

    def _block(self, x: Array, name: str, stride: int) -> Array:
        activation = self._variant.builder["activation"]
        y = self._convolution(x, f"{name}/_expansion", activation)
        y = self._convolution(y, f"{name}/_feature", activation, stride=stride)
        if f"{name}/_feature/_batch_norm_temporal/gamma" in self._values:
            kernel, bias = self._folded(f"{name}/_feature", "_temporal")
            y = self._convolve_over_time(y, kernel.swapaxes(0, 1), bias, activation)  # stored as (1, kt, 1, 1, C)
        if self._variant.builder["se_type"] != "none":
            y = y * self._attention(y, f"{name}/_attention")
        y = self._convolution(y, f"{name}/_projection", scale=float(self._values[f"{name}/_mobile_bottleneck/_rezero/scale"]))
        if f"{name}/_skip/_projection/_batch_norm/gamma" in self._values:
            x = self._convolution(self._average_pool(x) if stride > 1 else x, f"{name}/_skip/_projection")
        return y + x

    def _attention(self, x: Array, name: str) -> Array:
        """Squeeze-and-excitation over the view, or in stream networks over the frame and all frames up to it."""
        if self._variant.stream:
            space = self._mean_over_space(x)
            gate = self._concatenate(self._cumulative_mean(space), space)
            if (scale := self._values.get(f"{name}/_pos_encoding/_rezero/scale")) is not None:
                gate = self._add_positional_encoding(gate, np.float32(scale))
        else:
            gate = self._mean(x)
        gate = self._convolution(gate, f"{name}/_se_reduce", self._variant.builder["activation"])
        return self._convolution(gate, f"{name}/_se_expand", self._variant.builder["gating_activation"])

    def _convolution(self, x: Array, name: str, activation: str | None = None, *, stride: int = 1, scale: float = 1.0) -> Array:
        kernel, bias = self._folded(name)
        return self._convolve(x, kernel * scale, bias * scale, activation, stride)

    def _folded(self, name: str, kind: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias of the block of layers `name`, with its batch norm, float64.

        The kernel is (kt, kh, kw, in, out), or (kt, kh, kw, 1, C) if it is depthwise. kind: "" or "_temporal".
        """
        layer = f"{name}/_conv{kind}"
        (key,) = [
            key for end in ("kernel", "_conv/kernel", "_conv/depthwise_kernel") if (key := f"{layer}/{end}") in self._values
        ]
        kernel = np.float64(self._values[key])
        if key.endswith("/depthwise_kernel"):  # (kh, kw, C, 1)
            kernel = kernel.swapaxes(-1, -2)
        if kernel.ndim == 4:
            kernel = kernel[np.newaxis]
        norm = f"{name}/_batch_norm{kind}"
        if f"{norm}/gamma" not in self._values:
            return kernel, np.float64(self._values[f"{key.rpartition('/')[0]}/bias"])
        gamma, beta, mean, variance = (
            np.float64(self._values[f"{norm}/{part}"]) for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        factor = gamma / np.sqrt(variance + _BATCH_NORM_EPSILON)
        return kernel * factor, beta - mean * factor

    def _frames_before(self, kernel: np.ndarray) -> int:
        """The number of frames before the current one that a kernel (kt, ...) covers."""
        return len(kernel) - 1 if self._variant.stream else (len(kernel) - 1) // 2

    def _taps(self, kernel: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """The parts of a kernel by frame: (number of frames after the current one, (kh, kw, in, out)).

        The current frame's part comes first. Parts that would only cover padding are omitted.
        """
        before = self._frames_before(kernel)
        offsets = (tap - before for tap in range(len(kernel)))
        return [(offset, kernel[offset + before]) for offset in sorted(offsets, key=abs) if abs(offset) < self._count]
