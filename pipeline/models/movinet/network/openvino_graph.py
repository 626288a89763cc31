"""Builds a MoViNet for OpenVINO from the values of a checkpoint: without TensorFlow, in a tenth of a second.

A graph is for one view, or for one frame of a stream. It is in the form that OpenVINO computes fastest on a CPU:

- batch norms and residual scales are folded into kernels and biases;
- a bias, an activation or a residual sum follows its convolution at once, and is computed with it;
- a depthwise convolution over kt frames is a sum of kt convolutions without temporal extent, shifted in time, as in `fast_conv`:
  OpenVINO's own 3D kernels for them are ten times slower;
- the fully connected layers of squeeze-and-excitation are pointwise convolutions;
- for one frame, a convolution over time is a sum of products with the frames before, each an input of the graph.

Invariants: the features are those of the Model Garden's network but for the order of operations; tests compare every variant.
"""

from collections.abc import Callable, Mapping

import numpy as np
from openvino import Model, Node
from openvino import opset13 as ops

from pipeline.models.movinet.apply import HeadValues
from pipeline.models.movinet.network.variants import Variant

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

_Activation = Callable[[Node], Node]
_ACTIVATIONS: dict[str, _Activation] = {
    "swish": ops.swish,
    "hard_swish": ops.hswish,
    "relu6": lambda x: ops.clamp(x, 0.0, 6.0),
    "sigmoid": ops.sigmoid,
    "hard_sigmoid": lambda x: ops.hard_sigmoid(x, np.float32(0.2), np.float32(0.5)),  # see `build.hard_sigmoid`
}


def build_graph(values: Mapping[str, np.ndarray], variant: Variant, count: int, size: int) -> Model:
    """The backbone as a function of a view: float32 (1, count, size, size, 3) in [0, 1] -> features (1, P).

    values: see `backbone_values`.
    """
    views = ops.parameter([1, count, size, size, 3], np.float32, name="views")
    return Model([_Builder(values, variant, count).features(views)], [views], variant.id)


def build_frame_graph(values: Mapping[str, np.ndarray], head: HeadValues, variant: Variant, size: int) -> tuple[Model, list[int]]:
    """The classifier for one frame: the parts of a `StreamGraph`. values: see `backbone_values`."""
    image = ops.parameter([1, size, size, 3], np.float32, name="image")
    number = ops.parameter([1], np.float32, name="number")
    builder = _FrameBuilder(values, variant, number)
    features = builder.features(ops.reshape(image, [1, 1, size, size, 3], special_zero=False))
    hidden = ops.add(ops.matmul(features, np.ascontiguousarray(head.projection.T), False, True), head.projection_bias)
    hidden = _ACTIVATIONS[variant.activation](hidden)
    logits = ops.add(ops.matmul(hidden, np.ascontiguousarray(head.classifier.T), False, True), head.classifier_bias)
    states = [state for states, _ in builder.states for state in states]
    model = Model([logits, *(new for _, new in builder.states)], [image, number, *states], f"{variant.id}_frame")
    return model, [len(states) for states, _ in builder.states]


def _strides(variant: Variant) -> list[int]:
    """The spatial stride of each block."""
    return [
        2 if number == 0 and group != _UNSTRIDED_GROUP else 1
        for group, count in enumerate(_GROUPS[variant.family])
        for number in range(count)
    ]


def _same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: zeros before and after `length` values."""
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def _positional_encoding(frames: int, channels: int) -> np.ndarray:
    """(frames, channels): sines of the frame's number, then cosines, as `nn_layers.PositionalEncoding` orders them."""
    channel = np.arange(channels)
    angles = np.float32(1.0) / np.float32(_WAVELENGTH) ** (np.float32(2 * (channel // 2)) / np.float32(channels))
    times = np.arange(frames, dtype=np.float32)[:, np.newaxis]
    return np.concatenate([np.sin(times * angles[0::2]), np.cos(times * angles[1::2])], axis=1)


class _Builder:
    """Activations are (1, C, T, H, W), which OpenVINO stores with the channels last. count: number of frames T."""

    def __init__(self, values: Mapping[str, np.ndarray], variant: Variant, count: int):
        self._values, self._variant, self._count = values, variant, count
        self._activation = _ACTIVATIONS[variant.builder["activation"]]
        self._gate = _ACTIVATIONS[variant.builder["gating_activation"]]

    def features(self, views: Node) -> Node:
        strides = _strides(self._variant)
        x = self._convolution(ops.transpose(views, [0, 4, 1, 2, 3]), "layer_with_weights-0/_stem", self._activation, stride=2)
        for number, stride in enumerate(strides, 1):
            x = self._block(x, f"layer_with_weights-{number}", stride)
        x = self._convolution(x, f"layer_with_weights-{len(strides) + 1}/_project", self._activation)
        return ops.reshape(self._mean(x), [1, self._variant.features], special_zero=False)

    def _mean(self, x: Node) -> Node:
        """Over space and the view: (1, C, T, H, W) -> (1, C, 1, 1, 1)."""
        return ops.reduce_mean(x, [2, 3, 4], keep_dims=True)

    def _means_so_far(self, x: Node) -> Node:
        """(1, C, T, 1, 1) -> the mean after each frame, (1, C, T, 1, 1)."""
        channels, number = x.get_output_shape(0)[1], np.arange(1, self._count + 1, dtype=np.float32)
        running_mean = ops.constant(np.tri(self._count, dtype=np.float32).T / number)  # (T, T)
        by_channel = ops.reshape(x, [channels, self._count], special_zero=False)
        return ops.reshape(ops.matmul(by_channel, running_mean, False, False), [1, channels, self._count, 1, 1], False)

    def _encoding(self, channels: int) -> Node:
        """The positional encoding (1, channels, T, 1, 1)."""
        return ops.constant(_positional_encoding(self._count, channels).T[np.newaxis, :, :, np.newaxis, np.newaxis])

    def _convolve_over_time(self, x: Node, kernel: np.ndarray, bias: np.ndarray) -> Node:
        """kernel: depthwise, (kt, 1, 1, 1, C)."""
        return self._convolve(x, kernel, bias, self._activation)

    def _block(self, x: Node, name: str, stride: int) -> Node:
        y = self._convolution(x, f"{name}/_expansion", self._activation)
        y = self._convolution(y, f"{name}/_feature", self._activation, stride=stride)
        if f"{name}/_feature/_batch_norm_temporal/gamma" in self._values:
            kernel, bias = self._folded(f"{name}/_feature", "_temporal")
            y = self._convolve_over_time(y, kernel.swapaxes(0, 1), bias)  # stored as (1, kt, 1, 1, C)
        if self._variant.builder["se_type"] != "none":
            y = self._attention(y, f"{name}/_attention")
        y = self._convolution(y, f"{name}/_projection", scale=float(self._values[f"{name}/_mobile_bottleneck/_rezero/scale"]))
        if f"{name}/_skip/_projection/_batch_norm/gamma" in self._values:
            if stride > 1:
                x = ops.avg_pool(x, [1, 2, 2], [0, 0, 0], [0, 0, 0], [1, 3, 3], True, "floor", "same_upper")
            x = self._convolution(x, f"{name}/_skip/_projection")
        return ops.add(y, x)

    def _attention(self, x: Node, name: str) -> Node:
        """Squeeze-and-excitation over the view, or in stream networks over the frame and all frames up to it."""
        if self._variant.stream:
            space = ops.reduce_mean(x, [3, 4], keep_dims=True)
            gate = ops.concat([self._means_so_far(space), space], 1)
            if (scale := self._values.get(f"{name}/_pos_encoding/_rezero/scale")) is not None:
                gate = ops.add(gate, ops.multiply(self._encoding(gate.get_output_shape(0)[1]), np.float32(scale)))
        else:
            gate = self._mean(x)
        gate = self._convolution(gate, f"{name}/_se_reduce", self._activation)
        return ops.multiply(x, self._convolution(gate, f"{name}/_se_expand", self._gate))

    def _convolution(
        self, x: Node, name: str, activation: _Activation | None = None, *, stride: int = 1, scale: float = 1.0
    ) -> Node:
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

    def _convolve(self, x: Node, kernel: np.ndarray, bias: np.ndarray, activation: _Activation | None, stride: int = 1) -> Node:
        """activation(convolution + bias), depthwise or without temporal extent. Kernel and bias: see `_folded`."""
        taps, depthwise = len(kernel), kernel.shape[3] == 1
        before = taps - 1 if self._variant.stream else (taps - 1) // 2  # frames that the kernel sees before the current one
        height, width = x.get_output_shape(0)[3:]
        above, below = _same_padding(height, kernel.shape[1], stride)
        left, right = _same_padding(width, kernel.shape[2], stride)
        y = None
        # The current frame's tap first: it has the bias. A tap further away than the view is long sees only zeros.
        for offset in sorted((tap - before for tap in range(taps) if abs(tap - before) < self._count), key=abs):
            weights = np.float32(kernel[offset + before : offset + before + 1].transpose(4, 3, 0, 1, 2))  # (out, in, 1, kh, kw)
            start, end = [max(-offset, 0), above, left], [max(offset, 0), below, right]
            if depthwise:
                part = ops.group_convolution(x, weights[:, np.newaxis], [1, stride, stride], start, end, [1, 1, 1])
            else:
                part = ops.convolution(x, weights, [1, stride, stride], start, end, [1, 1, 1])
            if offset:
                part = ops.slice(part, [max(offset, 0)], [max(offset, 0) + self._count], [1], [2])
            y = ops.add(part, np.float32(bias).reshape(1, -1, 1, 1, 1) if y is None else y)
        return y if activation is None else activation(y)


class _FrameBuilder(_Builder):
    """Builds a stream network for one frame. number: of the frame, from 1, float32 (1,).

    Attributes:
      states: of each layer that remembers frames, its inputs, oldest first, and the output that is the newest of the next frame.
    """

    def __init__(self, values: Mapping[str, np.ndarray], variant: Variant, number: Node):
        super().__init__(values, variant, 1)
        self._number = number
        self.states: list[tuple[list[Node], Node]] = []

    def _mean(self, x: Node) -> Node:
        return self._means_so_far(ops.reduce_mean(x, [3, 4], keep_dims=True))

    def _means_so_far(self, x: Node) -> Node:
        total = ops.parameter(x.get_output_shape(0), np.float32)
        new = ops.add(total, x)
        self.states.append(([total], new))
        return ops.divide(new, self._number)

    def _encoding(self, channels: int) -> Node:
        channel = np.arange(channels)
        angles = np.float32(1.0) / np.float32(_WAVELENGTH) ** (np.float32(2 * (channel // 2)) / np.float32(channels))
        time = ops.subtract(self._number, np.float32([1]))
        waves = ops.concat([ops.sin(ops.multiply(time, angles[0::2])), ops.cos(ops.multiply(time, angles[1::2]))], 0)
        return ops.reshape(waves, [1, channels, 1, 1, 1], special_zero=False)

    def _convolve_over_time(self, x: Node, kernel: np.ndarray, bias: np.ndarray) -> Node:
        # With the channels last, as OpenVINO stores them: it would convert each state otherwise.
        x = ops.transpose(x, [0, 2, 3, 4, 1])
        past = [ops.parameter(x.get_output_shape(0), np.float32) for _ in kernel[1:]]
        self.states.append((past, x))
        y = ops.constant(np.float32(bias))
        for frame, tap in reversed(list(zip([*past, x], kernel, strict=True))):
            y = ops.add(ops.multiply(frame, np.float32(tap).reshape(-1)), y)
        return ops.transpose(self._activation(y), [0, 4, 1, 2, 3])
