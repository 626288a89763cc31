"""Converts the variables of a function to constants of its graph, for fast saving and loading.

Saving a Keras model traces each of its layers, which takes minutes, and saving and loading variables takes longer than all the
rest.
"""

from collections.abc import Callable

import tensorflow as tf


def convert_variables_to_constants(
    compute: Callable[[tf.Tensor], tf.Tensor], spec: tf.TensorSpec
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function equal to `compute`, with the current values of its variables as constants.

    Args:
      compute: a function of one tensor.
      spec: of its argument; it must have a name.

    Raises:
      ValueError: an operation other than a read uses a variable.
    """
    traced = tf.function(compute, autograph=False).get_concrete_function(spec)
    graph, result = _frozen_graph(traced), traced.outputs[0].name

    def imported(argument: tf.Tensor) -> tf.Tensor:
        return tf.import_graph_def(graph, {spec.name: argument}, [result], name="")[0]

    return tf.compat.v1.wrap_function(imported, [spec])


def _frozen_graph(function: tf.types.experimental.ConcreteFunction) -> tf.compat.v1.GraphDef:
    variables = {id(variable.handle): variable for variable in function.variables}
    captured = {
        placeholder.op.name: variables[id(handle)] for handle, placeholder in function.graph.captures if id(handle) in variables
    }
    source = function.graph.as_graph_def()
    frozen = tf.compat.v1.GraphDef(versions=source.versions, library=source.library)
    for node in source.node:
        if node.name in captured:
            continue
        if node.op == "ReadVariableOp" and node.input[0] in captured:
            value = tf.make_tensor_proto(captured[node.input[0]].numpy())
            constant = frozen.node.add(name=node.name, op="Const")
            constant.attr["dtype"].type = value.dtype
            constant.attr["value"].tensor.CopyFrom(value)
            continue
        used = [name for name in node.input if name in captured]
        if used:
            raise ValueError(f"{node.name} ({node.op}) uses the variable {captured[used[0]].name}; only reads can be converted")
        frozen.node.add().CopyFrom(node)
    return frozen
