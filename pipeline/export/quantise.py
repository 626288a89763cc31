"""Quantises a stream network to int8, except the operations whose quantisation costs accuracy.

Most convolutions, nearly all of the computation, use int8. The ranges of the activations are measured on streamed real clips;
empty states or noise give wrong ranges. Each family states what stays in float (`Stream.float_operations`, `float_scopes`).
docs/quantisation.md has the measurements behind this choice.
"""

import warnings
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from pipeline.console import without_chatter
from pipeline.export.flatbuffer import text, unpack
from pipeline.export.frame_model import frame_model, make_converter, stream_inputs
from pipeline.models.family import Stream

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def quantise(classifier: Stream, clips: Iterable[np.ndarray]) -> bytes:
    """Returns a .tflite file with the network in int8. clips: float32 (T, size, size, 3) in [0, 1], to calibrate on."""
    return quantise_calibrated(calibrate(classifier, clips), classifier.float_operations, classifier.float_scopes)


def calibrate(classifier: Stream, clips: Iterable[np.ndarray]) -> bytes:
    """Returns a .tflite file with the network in float and the range of every activation on the frames of `clips`."""
    with frame_model(classifier) as folder:
        converter = make_converter(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: stream_inputs(classifier, clips)
        converter._experimental_calibrate_only = True  # as tf.lite.experimental.QuantizationDebugger does
        with without_chatter(), warnings.catch_warnings():  # the converter itself uses a deprecated interpreter
            warnings.filterwarnings("ignore", message=r"(?s).*tf\.lite\.Interpreter is deprecated", category=UserWarning)
            return converter.convert()


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
