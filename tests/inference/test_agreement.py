"""A network gives the same prediction in every format; real weights classify a real clip."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.artifacts import ClassifierDescription
from pipeline.console import UserError
from pipeline.inference.formats import open_model
from pipeline.video.sampling import Sampling
from tests.inference.small import write_video
from tests.test_predict import command, run

REAL = os.environ.get("MOVINET_REAL_DATA")
real = pytest.mark.skipif(not REAL, reason="MOVINET_REAL_DATA names no folder of real clips and weights")


@pytest.fixture
def small() -> Iterator[None]:
    """Every network that a test builds is small."""
    from tests.models.movinet.small import small_variants

    with small_variants():
        yield


@pytest.mark.slow
@pytest.mark.xdist_group("exporting")
def test_every_format_of_a_network_gives_the_same_prediction(small, tmp_path):
    """The checkpoint, the SavedModel of finetune and the files of export, on a clip longer than its views."""
    import tensorflow as tf

    from pipeline.export.convert import convert
    from pipeline.export.saved import save_streaming
    from pipeline.models.family import open_stream
    from pipeline.models.movinet.network.saved_head import read_head
    from pipeline.models.movinet.network.serving import Classifier, FrozenBackbone, save_classifier
    from pipeline.models.movinet.network.variants import VARIANTS
    from pipeline.models.movinet.network.weights.values import backbone_values
    from tests.models.movinet.test_streaming import CLASSES as NAMES
    from tests.models.movinet.test_streaming import lively

    variant = VARIANTS["a0_stream_relu6"]
    home = tmp_path / "classifier"
    home.mkdir()
    network = lively(variant.id)
    last = network.layers[-1].weights[2]
    last.assign(0.1 * last)  # so that no class is certain
    description = ClassifierDescription(
        classes=NAMES, model=variant.id, activation=variant.activation, fps=5.0, size=32, count=4, views=3
    )
    description.write(home / "classifier.json")
    sampling = Sampling.of(description)
    tf.train.Checkpoint(model=network).write(str(home / "ckpt-1"))
    (home / "checkpoint").write_text('model_checkpoint_path: "ckpt-1"\n')
    backbone = FrozenBackbone(backbone_values(home / "ckpt-1"), variant, sampling)
    served = Classifier(backbone, read_head(home / "ckpt-1"), sampling, activation=variant.activation, views=3)
    save_classifier(served, home / "saved_model")
    stream = open_stream(home, description)
    save_streaming(stream, tmp_path / "export/saved_model")
    (tmp_path / "float32.tflite").write_bytes(convert(stream, "float32"))

    video = write_video(tmp_path / "clip.avi", [10, 250, 30, 90, 160, 200, 60, 120, 220, 240, 40])
    predictions = {}
    for name in ("classifier", "classifier/saved_model", "export", "float32.tflite"):
        predictor = open_model(str(tmp_path / name))
        assert predictor.view_indices(11).shape == (3, 4), name
        record = json.loads(run(predictor, [video], form="json")[0][0])
        predictions[name] = {one["class"]: one["probability"] for one in record["top"]}
    expected = predictions["classifier"]
    assert max(expected.values()) < 0.999  # otherwise agreement would prove nothing
    for name, prediction in predictions.items():
        assert prediction == pytest.approx(expected, abs=2e-4), name
    timelines = {}
    for name in ("classifier", "export", "float32.tflite"):
        lines, _ = run(open_model(str(tmp_path / name)), [video], form="json", stream=True)
        timelines[name] = [{one["class"]: one["probability"] for one in json.loads(line)["top"]} for line in lines]
    lines, _ = run(open_model(str(home), engine="tensorflow"), [video], form="json", stream=True)
    for line, wanted in zip(lines, timelines["classifier"], strict=True):  # which OpenVINO has run
        assert {one["class"]: one["probability"] for one in json.loads(line)["top"]} == pytest.approx(wanted, abs=1e-5)
    for name, timeline in timelines.items():
        for found, wanted in zip(timeline, timelines["classifier"], strict=True):
            assert found == pytest.approx(wanted, abs=2e-4), name


@pytest.mark.slow
def test_published_weights_of_a_base_network_take_whole_clips(tmp_path):
    import numpy as np
    import tensorflow as tf
    import tf_keras

    from pipeline.inference.sources import find_sources
    from pipeline.inference.views import centre_square
    from pipeline.models.movinet.network.build import build_backbone, build_classifier, set_rezero
    from pipeline.models.movinet.network.variants import VARIANTS

    tf_keras.utils.set_random_seed(1)
    network = build_classifier(VARIANTS["a0"], build_backbone(VARIANTS["a0"]))
    set_rezero(network.backbone, 0.4)
    last = network.layers[-1].weights[2]
    last.assign(np.random.default_rng(2).normal(0, 0.02, last.shape))
    tf.train.Checkpoint(model=network).write(str(tmp_path / "weights/ckpt-1"))
    (tmp_path / "labels.txt").write_text("\n".join(f"class {number}" for number in range(600)))
    video = write_video(tmp_path / "clip.avi", [10, 250, 90])
    predictor = open_model(pretrained="a0", weights=str(tmp_path / "weights"), labels=tmp_path / "labels.txt")
    record = json.loads(run(predictor, [video], form="json", top=3)[0][0])
    clip = np.stack([centre_square(image, 172) for _, image in find_sources(str(video))[0].frames(5, 172)])
    expected = tf.nn.softmax(network({"image": clip[None]}, training=False))[0].numpy()
    assert [one["class"] for one in record["top"]] == [f"class {index}" for index in np.argsort(-expected)[:3]]
    assert [one["probability"] for one in record["top"]] == pytest.approx(np.sort(expected)[:-4:-1].tolist(), abs=2e-6)
    with pytest.raises(UserError, match="a0 takes whole clips; to run frame by frame, use --pretrained a0_stream"):
        predictor.stream()


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.xdist_group("real")
@real
def test_real_weights_classify_a_real_clip(tmp_path):
    """As a whole, frame by frame, and drawn; the published int8 file agrees."""
    labels = Path(REAL) / "kinetics_600_labels.txt"
    weights = ["--pretrained", "a0_stream_relu6", "--weights", f"{REAL}/movinet_a0_stream_k600.tar.gz", "--labels", labels]
    done = command(f"{REAL}/carving_ice.mp4", *weights, "--animate", tmp_path / "ice.png", "--format", "json")
    assert done.returncode == 0, done.stderr
    best = json.loads(done.stdout)["top"][0]
    assert best["class"] == "carving ice" and best["probability"] > 0.5
    assert (tmp_path / "ice.png").exists()
    done = command(f"{REAL}/carving_ice.mp4", *weights, "--stream", "--format", "json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["class"] == "carving ice" and last["probability"] == pytest.approx(best["probability"], abs=1e-3)
    lite = open_model(f"{REAL}/movinet_a0_stream_k600_int8.tflite", labels=labels)
    prediction = json.loads(run(lite, [f"{REAL}/carving_ice.mp4"], form="json")[0][0])
    assert prediction["top"][0]["class"] == "carving ice" and prediction["top"][0]["probability"] > 0.9
