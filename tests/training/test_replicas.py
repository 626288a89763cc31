"""Training on several replicas equals training in one process: on two logical devices, and in two processes on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.video.records import serialize_clip, shard_names, write_shard
from tests.test_params import composed

ROOT = Path(__file__).parent.parent.parent
TRAIN, VALIDATION = 17, 5  # batches of 8, 8 and 1, and of 5: divided evenly, unevenly, and with no rows for one of the replicas


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Path:
    """Records of noisy clips of two classes that differ in brightness."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(1)
    for split, count in (("train", TRAIN), ("validation", VALIDATION)):
        names = shard_names(split, count, 2)
        records: list[list[bytes]] = [[] for _ in names]
        for number in range(count):
            pixels = rng.integers(90, 160, (6, 32, 32, 3)) + 15 * (number % 2)
            jpegs = [tf.io.encode_jpeg(image.astype(np.uint8), quality=95).numpy() for image in pixels]
            records[number % 2].append(serialize_clip(f"{split}{number}", number % 2, "-", f"g{number}", jpegs, list(range(6))))
        for name, clips in zip(names, records, strict=True):
            write_shard(folder / name, clips)
    return folder


class Training:
    """A training in `folder`, in one or several processes."""

    def __init__(self, folder: Path, frames: Path, distribute: str, epochs: int = 2):
        folder.mkdir()
        (folder / "resumable_scratch").mkdir()
        self.folder = folder
        overrides = ["finetune.learning_rate=0.003", "finetune.label_smoothing=0.1", "augment.crop=0.5", "finetune.warmup=0"]
        overrides += ["frames.size=32", "frames.count=3", "finetune.batch_size=8", "speed.checkpoint_minutes=1000"]
        overrides += [f"finetune.epochs={epochs}", f"finetune.distribute={distribute}", "data.flip=true"]
        self.settings = composed("data=folder", "data.folder=/none", "finetune=full", *overrides)
        self.settings["network"] = {"dropout": 0.3, "batch_norm": True}
        self.settings |= {"folder": str(folder / "resumable_scratch"), "records": str(frames)}

    def start(self, worker: int = 0, ports: list[int] | None = None, fatal_epoch: int | None = None) -> subprocess.Popen:
        """fatal_epoch: kill the process after this epoch, to simulate the failure of a machine."""
        environment = os.environ | {"TF_NUM_INTRAOP_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        if ports:
            cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
            environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": worker}})
        command = [sys.executable, "-m", "tests.training.replica_training", str(self.out(worker))]
        command.append(json.dumps(self.settings | {"fatal_epoch": fatal_epoch}))
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)

    def out(self, worker: int = 0) -> Path:
        return self.folder / f"{worker}.npz"

    def run(self) -> "Training":
        process = self.start()
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0, errors[-3000:]
        return self

    def results(self, worker: int = 0) -> dict[str, np.ndarray]:
        with np.load(self.out(worker)) as arrays:
            return {name: arrays[name] for name in arrays.files}


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def assert_equal(one: dict, other: dict) -> None:
    assert set(one) == set(other)
    for name, values in one.items():
        if name == "moved":
            continue
        np.testing.assert_allclose(values, other[name], rtol=1e-5, atol=5e-6, err_msg=name)


@pytest.fixture(scope="module")
def single(tmp_path_factory, frames) -> dict:
    return Training(tmp_path_factory.mktemp("single") / "training", frames, "none").run().results()


pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("replicas")]


def test_the_training_changes_every_weight_and_statistic(single):
    """Otherwise the comparisons below would prove little."""
    assert single["moved"].min() > 5e-4


def test_two_devices_train_like_one(tmp_path, frames, single):
    """With dropout, stochastic depth and trained batch norm."""
    assert_equal(Training(tmp_path / "training", frames, "mirrored").run().results(), single)


def test_two_processes_of_which_one_is_killed_train_like_one(tmp_path, frames, single):
    """The second worker dies after the last epoch, before it is saved: the chief reports it, and both resume after the first."""
    training = Training(tmp_path / "training", frames, "multi_worker")
    ports = free_ports(2)
    chief, other = training.start(0, ports), training.start(1, ports, fatal_epoch=2)
    other.communicate(timeout=300)
    killed = time.monotonic()
    errors = chief.communicate(timeout=300)[1]
    assert time.monotonic() - killed < 60
    assert other.returncode == -signal.SIGKILL and chief.returncode == 1
    assert errors.splitlines()[-1].startswith("error: another training worker is gone")
    assert "Traceback" not in errors

    ports = free_ports(2)
    both = [training.start(0, ports), training.start(1, ports)]
    for process in both:
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0, errors[-3000:]
        assert "resuming in epoch 2 after 0 of 17 examples" in errors
    assert_equal(training.results(0), single)
    for name, values in training.results(0).items():
        np.testing.assert_array_equal(values, training.results(1)[name], err_msg=name)
