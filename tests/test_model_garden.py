"""The Model Garden's own MoViNet trainer can read this project's records."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.video.records import serialize_clip, write_shard

TRAIN = """
import sys
from absl import flags
from official.projects.movinet import train
train.tfm_flags.define_flags()
flags.FLAGS(["train"])
flags.FLAGS.mode, flags.FLAGS.model_dir, flags.FLAGS.experiment, flags.FLAGS.params_override = sys.argv[1:]
train.main("")
"""


def records(path: Path, clips: int = 4, frames: int = 6) -> Path:
    rng = np.random.default_rng(1)
    jpegs = [cv2.imencode(".jpg", rng.integers(0, 256, (32, 40, 3), dtype=np.uint8))[1].tobytes() for _ in range(frames)]
    times = [200_000 * number for number in range(frames)]
    write_shard(path, [serialize_clip(f"A/{number}.avi", number % 2, "A", "g1", jpegs, times) for number in range(clips)])
    return path


@pytest.mark.slow
def test_the_trainer_runs_two_steps(tmp_path):
    data = str(records(tmp_path / "train-00000-of-00001.tfrecord"))
    part = {"input_path": data, "file_type": "tfrecord", "global_batch_size": 2, "feature_shape": [2, 32, 32, 3]}
    override = {
        "runtime": {"distribution_strategy": "mirrored", "mixed_precision_dtype": "float32"},
        "trainer": {"train_steps": 2, "steps_per_loop": 1, "summary_interval": 1, "checkpoint_interval": 2},
        "task": {"train_data": part, "validation_data": part, "model": {"backbone": {"movinet": {"conv_type": "2plus1d"}}}},
    }
    command = [sys.executable, "-c", TRAIN, "train", str(tmp_path / "model"), "movinet_kinetics600", json.dumps(override)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "model" / "ckpt-2.index").exists()
