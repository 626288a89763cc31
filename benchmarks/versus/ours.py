"""This pipeline on a network of its own, and the MoViNet tutorial's way of using one, with random weights.

`python -m benchmarks.versus.ours NETWORK BATCH FOLDER` prints the costs of one round as JSON, for a folder of clips.
"""

import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import heads, networks, ours, plain
from benchmarks.configuration import compose_job
from benchmarks.versus.clock import Cost, cost_of, peak_memory
from pipeline.console import quiet_libraries, without_chatter
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.settings import Finetune
from pipeline.sources.folders import folder_clips

FRAMES = 50  # at 5 a second, and the network's own size: the published input of A0 to A2
TUTORIAL = "a0_tutorial"
NETWORKS = ("a0", "a0_stream", "a2", TUTORIAL)
HEAD_EPOCHS = (2, 12)  # the difference is measured: the first epoch traces


def _cost(call) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def _head_step(model, finetune: Finetune) -> Cost:
    """Of a clip whose features are cached: the epochs after the first."""
    few, many = (
        _cost(lambda count=count: heads.graph(model, finetune.model_copy(update={"epochs": count}))) for count in HEAD_EPOCHS
    )
    steps = (HEAD_EPOCHS[1] - HEAD_EPOCHS[0]) * heads.VIEWS
    return Cost(*((second - first) / steps for first, second in zip(few, many, strict=True)))


def _a_clip(cost: Cost, clips: int) -> Cost:
    return Cost(*(part / clips for part in cost))


def _parameters(model: str, convolutions: str) -> int:
    return networks.build_random(model, convolutions).count_params()


def measure_pipeline(model: str, batch: int, folder: Path, work: Path) -> dict:
    """Extraction of whole clips at 5 frames a second, a pass in OpenVINO, a head step on cached features, a whole step."""
    load = networks.Load(model, batch, FRAMES, VARIANTS[model].resolution)
    params = compose_job(folder, model=model, weights="random", count=FRAMES, size=load.size)
    clips = len(ours.place_clips(params, work))
    costs = {"decode": _a_clip(cost_of(lambda: ours.extract_clips(params, work, workers=1)), clips)}
    network, views = networks.frozen_network(load), load.clips().numpy()
    costs["forward"] = _a_clip(cost_of(lambda: np.asarray(network(views))), batch)
    inference_memory = peak_memory()
    costs["head_step"] = _head_step(params.model, params.finetune)
    costs["whole_step"] = _a_clip(cost_of(networks.training_step(load, "fast", params.finetune)), batch)
    return _result(costs, load, "fast", inference_memory)


def measure_tutorial(batch: int, folder: Path) -> dict:
    """OpenCV's frames of a view, and Keras's steps, with the Model Garden's own convolutions; a head trains on whole passes."""
    model = TUTORIAL.removesuffix("_tutorial")
    load = networks.Load(model, batch, FRAMES, VARIANTS[model].resolution)
    paths, rng = [folder / clip.source for clip in folder_clips(str(folder)).clips], random.Random(1)
    read = cost_of(lambda: [plain.read_view(path, FRAMES, load.size, 5, rng) for path in paths])
    costs = {"decode": _a_clip(read, len(paths))}
    costs["forward"] = _a_clip(cost_of(networks.forward_pass(load, "stock")), batch)
    inference_memory = peak_memory()
    costs["head_step"] = _a_clip(cost_of(networks.training_step(load, "stock", None, backbone=False)), batch)
    costs["whole_step"] = _a_clip(cost_of(networks.training_step(load, "stock", None)), batch)
    return _result(costs, load, "stock", inference_memory)


def _result(costs: dict[str, Cost], load: networks.Load, convolutions: str, inference_memory: int) -> dict:
    training_memory = peak_memory()
    shape = {"frames": load.frames, "size": load.size, "parameters": _parameters(load.model, convolutions)}
    return {"costs": costs, **shape, "inference_memory": inference_memory, "training_memory": training_memory}


def main() -> None:
    name, batch, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    quiet_libraries()
    with tempfile.TemporaryDirectory(prefix="versus-") as work, without_chatter():
        found = measure_tutorial(batch, folder) if name == TUTORIAL else measure_pipeline(name, batch, folder, Path(work))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
