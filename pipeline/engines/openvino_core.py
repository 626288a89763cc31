"""Reads graphs and compiles them for the CPU with OpenVINO.

Invariant: there is one `openvino.Core` per process, and it is never freed. OpenVINO 2026.4's CPU plugin installs an alternate
signal stack (sigaltstack) for each Core. If two Cores are freed in the order in which they were created, the thread keeps a stack
that no longer exists, and the next signal, such as Ctrl-C, crashes the process with a segmentation fault.
"""

from pathlib import Path

import openvino

_CORE = openvino.Core()


def read_graph(path: Path) -> openvino.Model:
    """Reads a graph from an OpenVINO XML file or a TensorFlow GraphDef.

    Raises:
      RuntimeError: OpenVINO does not support an operation.
    """
    return _CORE.read_model(path)


def compile_graph(graph: openvino.Model, threads: int) -> openvino.CompiledModel:
    """Compiles `graph` to run up to `threads` requests in parallel, each on one thread, in float32.

    By default OpenVINO computes in bfloat16 or float16 on processors that support it.
    """
    options = {
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "ENABLE_CPU_PINNING": False,  # other processes use the cores, too
    }
    return _CORE.compile_model(graph, "CPU", options)
