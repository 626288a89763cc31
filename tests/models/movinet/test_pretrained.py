"""Published classifiers in each engine: of small networks, whose weights are written as published ones are."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from pipeline.console import UserError
from pipeline.inference.formats import open_model
from pipeline.inference.models import ClipPredictor
from pipeline.models.movinet.network.build import build_backbone, build_classifier, set_rezero
from pipeline.models.movinet.network.variants import KINETICS_CLASSES, VARIANTS
from pipeline.models.movinet.network.weights import layouts
from pipeline.models.movinet.network.weights.bundle import read_shapes
from pipeline.models.movinet.network.weights.layouts import contents_of, layout_of
from tests.models.movinet.small import small_variants


@pytest.fixture(params=["a0", "a0_stream"])
def published(request, tmp_path, monkeypatch) -> Iterator[dict]:
    """Arguments of `open_model` for a small network with random weights, whose layout counts as the variant's."""
    tf_keras.utils.set_random_seed(1)
    variant, prefix = VARIANTS[request.param], tmp_path / "weights" / "ckpt-1"
    (tmp_path / "labels.txt").write_text("\n".join(f"class {number}" for number in range(KINETICS_CLASSES)))
    with small_variants():
        network = build_classifier(variant, build_backbone(variant))
        set_rezero(network.backbone, 0.4)
        for variable in network.layers[-1].weights:
            variable.assign(np.random.default_rng(2).normal(0, 0.1, variable.shape))
        tf.train.Checkpoint(model=network).write(str(prefix))
        layout = layout_of(contents_of(read_shapes(prefix.with_name("ckpt-1.index").read_bytes())))
        monkeypatch.setitem(layouts.LAYOUTS, variant.id, layout)
        yield {"pretrained": variant.id, "weights": str(prefix.parent), "labels": tmp_path / "labels.txt"}


def outputs(predictor) -> np.ndarray:
    """Of a dark and a bright view, or of frames that get brighter."""
    noise = np.random.default_rng(5).random((2, 3, 172, 172, 3), np.float32) * np.float32([0.1, 1]).reshape(2, 1, 1, 1, 1)
    if isinstance(predictor, ClipPredictor):
        return predictor.probabilities(noise)
    stepper = predictor.stream()
    return np.stack([stepper.step(image) for image in noise[:, 0]])


def test_the_engines_agree(published, capsys):
    in_openvino = outputs(open_model(**published, engine="openvino"))
    in_tensorflow = outputs(open_model(**published, engine="tensorflow"))
    assert np.abs(in_openvino - in_tensorflow).max() < 1e-5 * np.abs(in_tensorflow).max()
    assert np.abs(in_tensorflow[1] - in_tensorflow[0]).max() > 1e-2 * np.abs(in_tensorflow).max(), "the input matters"
    np.testing.assert_array_equal(outputs(open_model(**published)), in_openvino)
    assert capsys.readouterr().err == ""


def test_damaged_weights_are_refused_in_each_engine(published):
    (data,) = Path(published["weights"]).glob("*.data-*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    for engine in ("openvino", "tensorflow", "auto"):
        with pytest.raises(UserError, match="damaged"):
            outputs(open_model(**published, engine=engine))


def test_weights_of_another_network_are_refused(published, monkeypatch):
    other = layouts.LAYOUTS["a2_stream"]
    monkeypatch.setitem(layouts.LAYOUTS, published["pretrained"], other)
    with pytest.raises(UserError, match="does not fit a0"):
        outputs(open_model(**published, engine="openvino"))


def test_tensorflow_is_not_imported():
    code = "import sys, pipeline.models.movinet.pretrained, pipeline.inference.formats; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
