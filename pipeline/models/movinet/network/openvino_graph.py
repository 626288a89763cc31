"""Builds a MoViNet for OpenVINO from the values of a checkpoint: without TensorFlow, in a tenth of a second.

A graph is for one view, or for one frame of a stream. It is in the form that OpenVINO computes fastest on a CPU:

- a bias, an activation or a residual sum follows its convolution at once, and is computed with it;
- a depthwise convolution over kt frames is a sum of kt convolutions without temporal extent, shifted in time, as in `fast_conv`:
  OpenVINO's own 3D kernels for them are ten times slower. For large frames the sum is computed one frame at a time, which
  keeps its operands in the processor's cache and needs no shifted copies;
- the fully connected layers of squeeze-and-excitation are pointwise convolutions;
- for one frame, a convolution over time is a sum of products with the frames before, each an input of the graph.
"""

from collections.abc import Callable, Mapping

import numpy as np
from openvino import Model, Node, Output
from openvino import opset13 as ops

from pipeline.models.movinet.apply import HeadValues
from pipeline.models.movinet.network.folded import FoldedNetwork, encoding_frequencies, positional_encoding
from pipeline.models.movinet.network.variants import Variant

# Convolutions over time are computed one frame at a time if frames are at least this large and at most this many: smaller frames
# gain nothing, and more frames take long to compile (A5 with 16 frames: 2.4 s).
LARGE_FRAME = 2**18  # bytes
MOST_FRAMES = 32
Tap = tuple[int, np.ndarray]  # see `FoldedNetwork._taps`

_ACTIVATIONS: dict[str, Callable[[Node], Node]] = {
    "swish": ops.swish,
    "hard_swish": ops.hswish,
    "relu6": lambda x: ops.clamp(x, 0.0, 6.0),
    "sigmoid": ops.sigmoid,
    "hard_sigmoid": lambda x: ops.hard_sigmoid(x, np.float32(0.2), np.float32(0.5)),  # see `activations.hard_sigmoid`
}


def build_graph(values: Mapping[str, np.ndarray], variant: Variant, count: int, size: int) -> Model:
    """The backbone as a function of a view: float32 (1, count, size, size, 3) in [0, 1] -> features (1, P).

    values: see `backbone_values`.
    """
    views = ops.parameter([1, count, size, size, 3], np.float32, name="views")
    return Model([_ViewGraph(values, variant, count).features(_with_channels_first(views))], [views], variant.id)


def build_frame_graph(values: Mapping[str, np.ndarray], head: HeadValues, variant: Variant, size: int) -> tuple[Model, list[int]]:
    """The classifier for one frame: the parts of a `StreamGraph`. values: see `backbone_values`."""
    image = ops.parameter([1, size, size, 3], np.float32, name="image")
    number = ops.parameter([1], np.float32, name="number")
    graph = _FrameGraph(values, variant, number)
    features = graph.features(_with_channels_first(ops.reshape(image, [1, 1, size, size, 3], special_zero=False)))
    hidden = ops.add(ops.matmul(features, np.ascontiguousarray(head.projection.T), False, True), head.projection_bias)
    hidden = _activate(hidden, variant.activation)
    logits = ops.add(ops.matmul(hidden, np.ascontiguousarray(head.classifier.T), False, True), head.classifier_bias)
    states = [state for states, _ in graph.states for state in states]
    model = Model([logits, *(new for _, new in graph.states)], [image, number, *states], f"{variant.id}_frame")
    return model, [len(states) for states, _ in graph.states]


def _with_channels_first(views: Node) -> Node:
    return ops.transpose(views, [0, 4, 1, 2, 3])


def _same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: zeros before and after `length` values."""
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def _convolve_frames(x: Output, tap: np.ndarray, stride: int, before: int = 0, after: int = 0) -> Node:
    """Convolves each frame of a map. tap: (kh, kw, in, out). before, after: number of frames of zeros to add."""
    height, width = list(x.get_shape())[3:]
    above, below = _same_padding(height, tap.shape[0], stride)
    left, right = _same_padding(width, tap.shape[1], stride)
    weights = np.float32(tap.transpose(3, 2, 0, 1)[:, :, np.newaxis])  # (out, in, 1, kh, kw)
    padding = [before, above, left], [after, below, right]
    if tap.shape[2] == 1:
        return ops.group_convolution(x, weights[:, np.newaxis], [1, stride, stride], *padding, [1, 1, 1])
    return ops.convolution(x, weights, [1, stride, stride], *padding, [1, 1, 1])


def _activate(x: Node, activation: str | None) -> Node:
    return x if activation is None else _ACTIVATIONS[activation](x)


class _ViewGraph(FoldedNetwork[Node]):
    """Feature maps are (1, C, T, H, W), which OpenVINO stores with the channels last; pooled over space, (1, C, T, 1, 1)."""

    def _convolve(self, x: Node, kernel: np.ndarray, bias: np.ndarray, activation: str | None, stride: int) -> Node:
        taps, bias = self._taps(kernel), np.float32(bias).reshape(1, -1, 1, 1, 1)
        _, channels, _, height, width = x.get_output_shape(0)
        if len(taps) > 1 and 4 * channels * height * width >= LARGE_FRAME and self._count <= MOST_FRAMES:
            frames = ops.split(x, 2, self._count).outputs()
            return ops.concat(
                [self._convolve_frame(frames, number, taps, bias, activation, stride) for number in range(self._count)], 2
            )
        y = None
        for offset, tap in taps:
            part = _convolve_frames(x.output(0), tap, stride, max(-offset, 0), max(offset, 0))
            if offset:
                part = ops.slice(part, [max(offset, 0)], [max(offset, 0) + self._count], [1], [2])
            y = ops.add(part, bias if y is None else y)
        return _activate(y, activation)

    def _convolve_frame(
        self, frames: list[Output], number: int, taps: list[Tap], bias: np.ndarray, activation: str | None, stride: int
    ) -> Node:
        """One frame of a convolution over time."""
        y = bias
        for offset, tap in taps:
            if 0 <= number + offset < self._count:
                y = ops.add(_convolve_frames(frames[number + offset], tap, stride), y)
        return _activate(y, activation)

    def _average_pool(self, x: Node) -> Node:
        return ops.avg_pool(x, [1, 2, 2], [0, 0, 0], [0, 0, 0], [1, 3, 3], True, "floor", "same_upper")

    def _mean(self, x: Node) -> Node:
        return ops.reduce_mean(x, [2, 3, 4], keep_dims=True)

    def _mean_over_space(self, x: Node) -> Node:
        return ops.reduce_mean(x, [3, 4], keep_dims=True)

    def _cumulative_mean(self, x: Node) -> Node:
        channels, number = x.get_output_shape(0)[1], np.arange(1, self._count + 1, dtype=np.float32)
        running_mean = ops.constant(np.tri(self._count, dtype=np.float32).T / number)  # (T, T)
        by_channel = ops.reshape(x, [channels, self._count], special_zero=False)
        return ops.reshape(ops.matmul(by_channel, running_mean, False, False), [1, channels, self._count, 1, 1], False)

    def _add_positional_encoding(self, x: Node, scale: np.float32) -> Node:
        encoding = positional_encoding(self._count, x.get_output_shape(0)[1])
        return ops.add(x, ops.constant(scale * encoding.T[np.newaxis, :, :, np.newaxis, np.newaxis]))

    def _concatenate(self, x: Node, y: Node) -> Node:
        return ops.concat([x, y], 1)

    def _flatten(self, x: Node) -> Node:
        return ops.reshape(x, [1, x.get_output_shape(0)[1]], special_zero=False)


class _FrameGraph(_ViewGraph):
    """Builds a stream network for one frame. number: of the frame, from 1, float32 (1,).

    Attributes:
      states: of each layer that remembers frames, its inputs, oldest first, and the output that is the newest of the next frame.
    """

    def __init__(self, values: Mapping[str, np.ndarray], variant: Variant, number: Node):
        super().__init__(values, variant, 1)
        self._number = number
        self.states: list[tuple[list[Node], Node]] = []

    def _mean(self, x: Node) -> Node:
        return self._cumulative_mean(self._mean_over_space(x))

    def _cumulative_mean(self, x: Node) -> Node:
        total = ops.parameter(x.get_output_shape(0), np.float32)
        new = ops.add(total, x)
        self.states.append(([total], new))
        return ops.divide(new, self._number)

    def _add_positional_encoding(self, x: Node, scale: np.float32) -> Node:
        channels = x.get_output_shape(0)[1]
        frequencies, time = encoding_frequencies(channels), ops.subtract(self._number, np.float32([1]))
        sines, cosines = ops.sin(ops.multiply(time, frequencies[0::2])), ops.cos(ops.multiply(time, frequencies[1::2]))
        encoding = ops.reshape(ops.concat([sines, cosines], 0), [1, channels, 1, 1, 1], special_zero=False)
        return ops.add(x, ops.multiply(encoding, scale))

    def _convolve_over_time(self, x: Node, kernel: np.ndarray, bias: np.ndarray, activation: str) -> Node:
        # With the channels last, as OpenVINO stores them: it would convert each state otherwise.
        x = ops.transpose(x, [0, 2, 3, 4, 1])
        past = [ops.parameter(x.get_output_shape(0), np.float32) for _ in kernel[1:]]
        self.states.append((past, x))
        y = ops.constant(np.float32(bias))
        for frame, tap in reversed(list(zip([*past, x], kernel, strict=True))):
            y = ops.add(ops.multiply(frame, np.float32(tap).reshape(-1)), y)
        return ops.transpose(_activate(y, activation), [0, 4, 1, 2, 3])
