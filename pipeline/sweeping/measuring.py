"""Measures one classifier where nothing else runs in the process: `python -m pipeline.sweeping.measuring <folder>`.

One thread and no GPU, so that machines can be compared; the memory is that of the whole process, TensorFlow included, as any
process that serves the model takes it.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from pipeline.artifacts import ClassifierDescription

WARM_UP = 2
LEAST_CALLS, LEAST_SECONDS = 5, 3.0
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
}


def peak_mib() -> float:
    """The largest memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage may give the parent's, from before this process ran its own program
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def measure(folder: Path) -> dict[str, float]:
    """The costs of the classifier in a folder that finetune wrote, by their names in `costs.Cost`."""
    import tensorflow as tf

    from pipeline.sweeping.arithmetic import flops

    description = ClassifierDescription.of(folder)
    size, count = description.size, description.count
    clip = tf.constant(np.random.default_rng(1).integers(0, 256, (1, count, size, size, 3), np.uint8))
    model = tf.saved_model.load(str(folder / "saved_model"))
    serve = model.signatures["serving_default"]
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < WARM_UP + LEAST_CALLS or time.perf_counter() - began < LEAST_SECONDS:
        start = time.perf_counter()
        serve(frames=clip)["probabilities"].numpy()
        times.append(time.perf_counter() - start)
    latency, memory = 1000 * statistics.median(times[WARM_UP:]), peak_mib()  # before counting adds to the memory
    views = tf.TensorSpec([description.views, count, size, size, 3], tf.float32)
    operations = flops(model.probabilities, views)
    return {"latency_ms": latency, "peak_mib": memory, "parameters": description.parameters, "flops": operations}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.sweeping.measuring", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a classifier as finetune writes it")
    folder = parser.parse_args().folder
    os.environ.update(ONE_THREAD | {"TF_CPP_MIN_LOG_LEVEL": "3"})
    print(json.dumps(measure(folder)))


if __name__ == "__main__":
    main()
