"""The arithmetic of a forward pass, counted in the traced graph of a SavedModel, whatever network it holds."""

import math

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

CALLS = ("PartitionedCall", "StatefulPartitionedCall", "If", "While", "StatelessIf", "StatelessWhile")


def flops(function, *specs: tf.TensorSpec) -> int:
    """Multiplications and additions of the convolutions and matrix products of one call, two for each product.

    Activations, pooling and batch norm are left out, as in published figures.

    Args:
      function: of a SavedModel, or any that TensorFlow can trace.
      specs: of its arguments, without unknown sizes.

    Raises:
      ValueError: an operation whose size does not follow from `specs`, or a call that could not be unfolded.
    """
    traced = tf.function(lambda *arguments: function(*arguments), autograph=False).get_concrete_function(*specs)
    frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False, aggressive_inlining=True)
    with tf.Graph().as_default() as graph:  # imported again, so that all shapes are inferred from those of the inputs
        inputs = {
            tensor.op.name: tf.compat.v1.placeholder(spec.dtype, spec.shape)
            for tensor, spec in zip(frozen.inputs, specs, strict=True)
        }
        tf.import_graph_def(frozen.graph.as_graph_def(), {f"{name}:0": tensor for name, tensor in inputs.items()}, name="")
    left = [op.name for op in graph.get_operations() if op.type in CALLS]
    if left:
        raise ValueError(f"cannot count what {left[0]} does")
    return sum(2 * _products(op) for op in graph.get_operations())


def _products(op: tf.Operation) -> int:
    """The products that an operation computes and sums."""
    if op.type in ("Conv2D", "Conv3D"):
        return _size(op.outputs[0]) * math.prod(_shape(op.inputs[1])[:-1])
    if op.type == "DepthwiseConv2dNative":
        return _size(op.outputs[0]) * math.prod(_shape(op.inputs[1])[:2])
    if op.type in ("MatMul", "BatchMatMul", "BatchMatMulV2"):
        transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
        return _size(op.outputs[0]) * _shape(op.inputs[0])[-2 if transposed else -1]
    if op.type in ("Einsum", "Conv2DBackpropInput", "_FusedConv2D", "_FusedMatMul"):
        raise ValueError(f"cannot count what {op.name} ({op.type}) does")
    return 0


def _size(tensor: tf.Tensor) -> int:
    return math.prod(_shape(tensor))


def _shape(tensor: tf.Tensor) -> list[int]:
    if not tensor.shape.is_fully_defined():
        raise ValueError(f"the size of {tensor.name} does not follow from the inputs': {tensor.shape}")
    return tensor.shape.as_list()
