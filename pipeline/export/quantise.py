"""int8 where a stream network can bear it: chosen on validation clips, measured in docs/quantisation.md.

Most convolutions, nearly all of the work, compute in int8, with ranges of activations from real clips that are streamed: empty
states or noise give wrong ones. What stays in float is the family's to say (`Stream.float_operations`, `float_scopes`).
"""

import warnings
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from pipeline.console import without_chatter
from pipeline.export.flatbuffer import text, unpack
from pipeline.export.frame_model import frame_model, make_converter, streamed
from pipeline.models.family import Stream

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def quantise(classifier: Stream, clips: Iterable[np.ndarray]) -> bytes:
    """The network in int8, its ranges taken from the frames of clips float32 (T, size, size, 3) in [0, 1]."""
    return quantise_calibrated(calibrate(classifier, clips), classifier.float_operations, classifier.float_scopes)


def calibrate(classifier: Stream, clips: Iterable[np.ndarray]) -> bytes:
    """The float network with the range of every activation noted."""
    with frame_model(classifier) as folder:
        converter = make_converter(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: streamed(classifier, clips)
        converter._experimental_calibrate_only = True  # as tf.lite.experimental.QuantizationDebugger does
        with without_chatter(), warnings.catch_warnings():  # the converter warns of an interpreter of its own that it uses
            warnings.filterwarnings("ignore", message=r"(?s).*tf\.lite\.Interpreter is deprecated", category=UserWarning)
            return converter.convert()


def quantise_calibrated(
    model: bytes,
    operations: Iterable[str],
    scopes: Iterable[str],
) -> bytes:
    """A calibrate network in int8, but for some of it.

    Args:
      operations: names of builtin operations that stay in float.
      scopes: beginnings of the name scopes whose convolutions stay in float.
    """
    from tensorflow.lite.python.convert import mlir_quantize

    content = unpack(model)
    kept = [name for scope in scopes for name in convolution_outputs(content, scope)]
    with without_chatter():
        return mlir_quantize(model, denylisted_ops=sorted(operations), denylisted_nodes=sorted(kept))


def convolution_outputs(content, scope: str) -> list[str]:
    """The names of what convolutions in a name scope make. A fused operation has the names of all that it was made of."""
    from ai_edge_litert import schema_py_generated as schema

    codes = {getattr(schema.BuiltinOperator, name) for name in CONVOLUTIONS}
    graph = content.subgraphs[0]
    makers = [one for one in graph.operators if content.operatorCodes[one.opcodeIndex].builtinCode in codes]
    names = [text(graph.tensors[one.outputs[0]].name) for one in makers]
    return [name for name in names if any(part.startswith(scope) for part in name.split(";"))]
