"""Shared by the tests of whole pipelines: tiny clips, and stages run as a user runs them."""

import contextlib
import importlib
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.artifacts import ClassifierDescription, FramesSummary, Metrics
from pipeline.params import Params, parse_params
from tests.test_params import composed

ROOT = Path(__file__).parent.parent
CLASSES = ["Dark", "Bright"]
SMALL = (
    "data=folder",
    "model=a0_stream",
    "frames.size=32",
    "frames.count=3",
    "frames.shards=2",
    "embed.views=3",
    "evaluate.views=2",
    "evaluate.bootstrap=100",
    "finetune.batch_size=8",
    "speed.decode_workers=1",  # joblib reuses workers, which keep the working directory of an earlier test
)


def render(folder: Path) -> Path:
    """Writes clips of two classes that differ in brightness: six groups of two clips each, named as in UCF-101."""
    import cv2

    rng = np.random.default_rng(1)
    for level, name in ((60, "Dark"), (180, "Bright")):
        (folder / name).mkdir(parents=True)
        for group in range(1, 7):
            for clip in (1, 2):
                path = folder / name / f"v_{name}_g{group:02d}_c{clip:02d}.avi"
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (40, 32))
                for _ in range(6):
                    writer.write(rng.integers(level - 50, level + 50, (32, 40, 3)).astype(np.uint8))
                writer.release()
    return folder


def write_weights(folder: Path) -> Path:
    """Writes a random checkpoint of A0 stream in the published layout, with nonzero residual branches."""
    import tensorflow as tf
    import tf_keras

    from pipeline.models.movinet.network.build import build_backbone, build_classifier, set_rezero
    from pipeline.models.movinet.network.variants import VARIANTS

    tf_keras.utils.set_random_seed(7)
    backbone = build_backbone(VARIANTS["a0_stream"])
    set_rezero(backbone, 0.3)
    tf.train.Checkpoint(model=build_classifier(VARIANTS["a0_stream"], backbone)).save(str(folder / "ckpt"))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return render(tmp_path_factory.mktemp("videos"))


class Repository:
    """A working directory with params.yaml, in which stages run."""

    def __init__(self, folder: Path, *overrides: str, model: str = "a0_stream"):
        self.folder = folder
        self.small = [f"model={model}" if option.startswith("model=") else option for option in SMALL]
        self.configure(*overrides)

    def configure(self, *overrides: str) -> None:
        self.overrides = overrides
        content = composed(*self.small, *overrides)
        (self.folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    @property
    def params(self) -> Params:
        return parse_params(composed(*self.small, *self.overrides))

    def environment(self) -> dict:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC"))}
        return kept | {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(self.folder)}

    def start(self, stage: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"stages.{stage}"]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment(), stderr=subprocess.PIPE, text=True)

    def run_here(self, *stages: str) -> None:
        """Runs stages in this process, which spares each the import of TensorFlow and lets tests change what it imports."""
        for stage in stages:
            main = importlib.import_module(f"stages.{stage}").main
            with (
                patch.dict(os.environ, self.environment(), clear=True),
                patch.object(sys, "argv", [stage]),
                contextlib.chdir(self.folder),
            ):
                main()

    def run(self, *stages: str) -> str:
        """Runs stages as a user runs them, each in its own process; returns what the last one wrote to stderr."""
        errors = ""
        for stage in stages:
            process = self.start(stage)
            errors = process.communicate(timeout=400)[1]
            assert process.returncode == 0, errors[-3000:]
        return errors


def check_calibrated(folder: Path) -> None:
    """Checks that evaluate, which knows no temperature, finds on validation what finetune states about it."""
    decision = ClassifierDescription.of(folder / "models/classifier").decision
    metrics = Metrics.read(folder / "results/metrics.json")
    assert metrics.decision == decision and 0.05 < decision.temperature < 20
    assert metrics.validation.log_loss == pytest.approx(decision.log_loss, abs=1e-5)
    assert metrics.validation.coverage == pytest.approx(decision.coverage)
    assert metrics.validation.accuracy_when_known == pytest.approx(decision.precision)
    assert decision.clip_seconds == 6 / 5


def check_served_as_evaluated(folder: Path) -> None:
    """Checks that the SavedModel gives the probabilities of predictions.csv for each test clip."""
    import tensorflow as tf

    from pipeline.video.parsing import parse_clip, read_clips

    predictions = pd.read_csv(folder / "results/predictions.csv").set_index("clip")
    serve = tf.saved_model.load(str(folder / "models/classifier/saved_model")).signatures["serving_default"]
    frames = folder / "data/frames"
    for clip in map(parse_clip, read_clips(FramesSummary.of(frames).files(frames, "test"))):
        served = serve(frames=clip["frames"][None])["probabilities"].numpy()[0]
        expected = predictions.loc[clip["clip"].numpy().decode()].filter(like="p_").to_numpy(float)
        np.testing.assert_allclose(served, expected, atol=1e-5)
