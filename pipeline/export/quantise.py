"""Quantises a stream network to int8, except the operations whose quantisation costs accuracy.

Most convolutions, nearly all of the computation, use int8. The ranges of the activations are measured on streamed real clips;
empty states or noise give wrong ranges. Each family states what stays in float (`Stream.float_operations`, `float_scopes`).
docs/quantisation.md has the measurements behind this choice.
"""

from collections.abc import Iterable

import numpy as np

from pipeline.console import without_chatter
from pipeline.export.flatbuffer import pack, text, unpack
from pipeline.export.frame_model import SIGNATURE, frame_model, make_converter, stream_inputs
from pipeline.models.family import Stream

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def quantise(classifier: Stream, clips: Iterable[np.ndarray]) -> bytes:
    """Returns a .tflite file with the network in int8. clips: float32 (T, size, size, 3) in [0, 1], to calibrate on."""
    return quantise_calibrated(calibrate(classifier, clips), classifier.float_operations, classifier.float_scopes)


def calibrate(classifier: Stream, clips: Iterable[np.ndarray]) -> bytes:
    """Returns a .tflite file with the network in float and the range of every activation on the frames of `clips`."""
    with frame_model(classifier) as folder, without_chatter():
        model = make_converter(folder).convert()
    content = unpack(model)
    tensors = content.subgraphs[0].tensors
    for index, (low, high) in measure_ranges(model, stream_inputs(classifier, clips)).items():
        tensors[index].quantization.min, tensors[index].quantization.max = np.float32([low]), np.float32([high])
    return pack(content)


def measure_ranges(model: bytes, inputs: Iterable[dict[str, np.ndarray]]) -> dict[int, tuple[float, float]]:
    """The smallest and the largest value of every float tensor, by its index, over all of `inputs`.

    The converter has a calibrator, which gives a tensor that a later operation overwrites in place the range of that operation's
    result (tensorflow/tensorflow#127842): residual sums made the ranges of convolutions up to three times too wide. Here no
    operation shares the memory of another's result.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    content = unpack(model)
    floats = [
        index
        for index, tensor in enumerate(content.subgraphs[0].tensors)
        if tensor.type == schema.TensorType.FLOAT32 and not _is_constant(content, tensor)
    ]
    # The reference kernels, as XNNPACK would keep its intermediate results to itself.
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=kernels, experimental_preserve_all_tensors=True)
    run = interpreter.get_signature_runner(SIGNATURE)
    ranges = dict.fromkeys(floats, (np.inf, -np.inf))
    for values in inputs:
        run(**values)
        for index in floats:
            tensor, (low, high) = interpreter.get_tensor(index), ranges[index]
            ranges[index] = min(low, float(tensor.min())), max(high, float(tensor.max()))
    if not all(np.isfinite(low) for low, _ in ranges.values()):
        raise ValueError("activations without finite values: no frames to calibrate on, or a network that diverged")
    return ranges


def _is_constant(content, tensor) -> bool:
    data = content.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def quantise_calibrated(model: bytes, operations: Iterable[str], scopes: Iterable[str]) -> bytes:
    """Quantises a calibrated network to int8.

    Args:
      model: as returned by `calibrate`.
      operations: names of builtin operations that stay in float.
      scopes: prefixes of the name scopes whose convolutions stay in float.
    """
    from tensorflow.lite.python.convert import mlir_quantize

    content = unpack(model)
    kept = [name for scope in scopes for name in convolution_outputs(content, scope)]
    with without_chatter():
        return mlir_quantize(model, denylisted_ops=sorted(operations), denylisted_nodes=sorted(kept))


def convolution_outputs(content, scope: str) -> list[str]:
    """The names of the outputs of convolutions in a name scope. A fused operation has the names of all its parts."""
    from ai_edge_litert import schema_py_generated as schema

    codes = {getattr(schema.BuiltinOperator, name) for name in CONVOLUTIONS}
    graph = content.subgraphs[0]
    convolutions = [one for one in graph.operators if content.operatorCodes[one.opcodeIndex].builtinCode in codes]
    names = [text(graph.tensors[one.outputs[0]].name) for one in convolutions]
    return [name for name in names if any(part.startswith(scope) for part in name.split(";"))]
