"""Compiles graphs for the processor with OpenVINO.

Invariant: a process has one `openvino.Core`, which lives as long as it does. OpenVINO 2026.4 gives the thread that first compiles
with a Core a stack for signals; where two Cores are dropped in the order of their making, that stack is memory already freed, and
the next signal, such as Ctrl-C, ends the process with a segmentation fault.
"""

from pathlib import Path

import openvino

_CORE = openvino.Core()


def read_graph(path: Path) -> openvino.Model:
    """The graph in a file of OpenVINO's or of TensorFlow's.

    Raises:
      RuntimeError: OpenVINO does not know an operation.
    """
    return _CORE.read_model(path)


def compile_graph(graph: openvino.Model, threads: int) -> openvino.CompiledModel:
    """The compiled graph, of which `threads` requests run at once, each on one thread, in float32.

    By itself, OpenVINO would compute in bfloat16 or float16 where the processor can.
    """
    options = {
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "ENABLE_CPU_PINNING": False,  # other processes use the cores, too
    }
    return _CORE.compile_model(graph, "CPU", options)
