"""Operations of a training step whose gradients TensorFlow computes slowly on a CPU.

Invariants: values and gradients are TensorFlow's but for the order of operations. Second derivatives are not defined.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

FUSED = 2**15  # numbers of a clip's feature map from which an activation is compiled: compiling takes 20 ms for each shape


@tf.custom_gradient
def pointwise_conv2d(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The convolution of (N, H, W, I) with a kernel (1, 1, I, O). Its gradients are matrix products."""

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, rows = tf.reshape(x, [-1, kernel.shape[2]]), tf.reshape(dy, [-1, kernel.shape[3]])
        dx = tf.reshape(tf.matmul(rows, kernel[0, 0], transpose_b=True), tf.shape(x))
        return tf.ensure_shape(dx, x.shape), tf.matmul(inputs, rows, transpose_a=True)[tf.newaxis, tf.newaxis]

    return tf.nn.conv2d(x, kernel, strides=1, padding="SAME"), gradient


def depthwise_conv2d(x: tf.Tensor, kernel: tf.Tensor, *, padding: str = "SAME") -> tf.Tensor:
    """The depthwise convolution of (N, H, W, C) with a kernel (kh, kw, C, 1) at stride 1. With SAME, its sides must be odd.

    The gradient by x is a convolution of the flipped kernel: TensorFlow's operation for it takes twice as long.
    """
    strides = [1, 1, 1, 1]
    height, width = kernel.shape[0] - 1, kernel.shape[1] - 1
    opposite = "SAME" if padding == "SAME" else [[0, 0], [height, height], [width, width], [0, 0]]

    @tf.custom_gradient
    def convolve(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            by_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=x, filter_sizes=kernel.shape.as_list(), out_backprop=dy, strides=strides, padding=padding
            )
            return tf.nn.depthwise_conv2d(dy, tf.reverse(kernel, [0, 1]), strides, opposite), by_kernel

        return tf.nn.depthwise_conv2d(x, kernel, strides, padding), gradient

    return convolve(x, kernel)


def slice_frames(x: tf.Tensor, start: int, count: tf.Tensor | int) -> tf.Tensor:
    """x[:, start : start + count] of (B, T, H, W, C). Its gradient takes a tenth of the time of that of the brackets."""
    return tf.slice(x, [0, start, 0, 0, 0], [-1, count, -1, -1, -1])


@functools.cache
def fused(activation: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """`activation`, elementwise, with one pass over memory for its values and one for its gradient, both compiled by XLA."""
    values = tf.function(activation, jit_compile=True, autograph=False)

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def by_input(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = activation(x)
        return tape.gradient(y, x, dy)

    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tf.Tensor:
        return values(x), lambda dy: by_input(x, dy)

    return apply


def is_large(x: tf.Tensor) -> bool:
    """Whether compiling an activation of x (batch, ...) is worth it. False if its shape is unknown."""
    size = x.shape[1:].num_elements()
    return size is not None and size >= FUSED
