"""The files from which embed starts: published weights are copied with a new head, without building their network."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline.console import UserError
from pipeline.models.movinet.backbone import open_backbone
from pipeline.models.movinet.network import classifier as building
from pipeline.models.movinet.network.build import build_backbone, build_classifier
from pipeline.models.movinet.network.saved_head import read_head
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.models.movinet.network.weights import checkpoints
from pipeline.models.movinet.network.weights.bundle import VALUE
from pipeline.models.movinet.network.weights.checkpoint_files import read_prefix
from pipeline.models.movinet.network.weights.checkpoints import restore, variable_keys
from pipeline.models.movinet.network.weights.layouts import contents_of, layout_of
from pipeline.models.movinet.settings import Settings
from pipeline.video.sampling import Sampling
from tests.models.movinet.small import small_variants

VARIANT = VARIANTS["a0_stream"]
CLASSES = 3
SAMPLING = Sampling(4, 32)


@pytest.fixture(scope="module")
def published():
    """A small network with Kinetics-600's classes."""
    with small_variants():
        tf.keras.utils.set_random_seed(1)
        network = build_classifier(VARIANT, build_backbone(VARIANT))
        rng = np.random.default_rng(1)
        for variable in network.variables:
            variable.assign(rng.uniform(0.05, 0.15, variable.shape).astype(np.float32))
        yield network


@pytest.fixture
def weights(published, tmp_path, monkeypatch) -> Path:
    """The prefix of its checkpoint, whose layout counts as the variant's."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    prefix = Path(tf.train.Checkpoint(model=published).save(str(tmp_path / "weights/ckpt")))
    layout = layout_of(contents_of(read_prefix(prefix).index.shapes))
    monkeypatch.setitem(checkpoints.LAYOUTS, VARIANT.id, layout)
    return prefix


def save(weights: Path | str, folder: Path) -> Path:
    folder.mkdir()
    model = Settings.of_id(VARIANT.id).model_copy(update={"weights": str(weights)})
    open_backbone(model, CLASSES, SAMPLING, seed=5).save(folder, views=2)
    return folder


def test_published_weights_get_a_new_head_without_building_the_network(published, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(building, "initial_classifier", lambda *args, **kwargs: pytest.fail("builds the network"))
    folder = save(weights, tmp_path / "out")
    variables = len(variable_keys(model=published))
    assert f"restored all {variables} variables of a0_stream from {weights}" in capsys.readouterr().err

    other = build_classifier(VARIANT, build_backbone(VARIANT), CLASSES)
    tf.train.Checkpoint(model=other).restore(str(folder / "ckpt-1")).assert_existing_objects_matched()
    new = []
    for one, two in zip(published.get_weights(), other.get_weights(), strict=True):
        if one.shape == two.shape:
            np.testing.assert_array_equal(one, two)
        else:
            new.append(two)
    assert [value.shape[-1] for value in new] == [CLASSES, CLASSES] and not any(value.any() for value in new)
    assert read_head(folder / "ckpt-1").classifier_bias.shape == (CLASSES,)

    views = tf.random.uniform([2, SAMPLING.count, SAMPLING.size, SAMPLING.size, 3], seed=1)
    served = tf.saved_model.load(str(folder / "saved_model"))
    expected = tf.reshape(published.backbone({"image": views}, training=False)[0]["head"], [2, -1]).numpy()
    np.testing.assert_allclose(served.backbone.features(views), expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(served.probabilities(views), np.full((2, CLASSES), 1 / CLASSES), rtol=1e-6)


def test_it_does_not_matter_whether_the_network_is_built(weights, tmp_path, monkeypatch):
    copied = save(weights, tmp_path / "copied")
    monkeypatch.setattr("pipeline.models.movinet.backbone.write_with_new_head", lambda *args: None)
    built = save(weights, tmp_path / "built")
    one, other = (tf.train.load_checkpoint(str(folder / "ckpt-1")) for folder in (copied, built))
    shapes = {key: shape for key, shape in one.get_variable_to_shape_map().items() if "save_counter" not in key}
    assert shapes == other.get_variable_to_shape_map()
    for key in shapes:
        if key.endswith(VALUE) and "/_classifier/" not in key:
            np.testing.assert_array_equal(one.get_tensor(key), other.get_tensor(key))


@pytest.mark.parametrize("kind", ["optimizer", "another variant", "another number of classes", "names only"])
def test_other_checkpoints_are_left_to_the_network(kind, published, weights, tmp_path, monkeypatch):
    """Nothing is written, so that building the network can find out whether the weights fit."""
    if kind == "optimizer":
        optimizer = tf.keras.optimizers.Adam()
        weights = Path(tf.train.Checkpoint(model=published, optimizer=optimizer).save(str(tmp_path / "other/ckpt")))
    elif kind == "another variant":
        monkeypatch.setitem(checkpoints.LAYOUTS, VARIANT.id, checkpoints.LAYOUTS["a1_stream"])
    elif kind == "another number of classes":
        network = build_classifier(VARIANT, build_backbone(VARIANT), 7)
        weights = Path(tf.train.Checkpoint(model=network).save(str(tmp_path / "other/ckpt")))
    else:  # as PyTorch's weights are converted
        values = {key: variable.numpy() for key, variable in variable_keys(model=published).items()}
        weights = tmp_path / "other"
        tf.raw_ops.SaveV2(
            prefix=str(weights), tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=list(values.values())
        )
    target = tmp_path / "target"
    assert checkpoints.write_with_new_head(weights, VARIANT, CLASSES, target) is None
    assert not list(tmp_path.glob("target*"))


def test_a_changed_byte_is_noticed(published, weights, tmp_path):
    index = read_prefix(weights).index
    tensor = next(tensor for key, tensor in index.tensors.items() if key.endswith(f"/_stem/_conv/_conv/kernel{VALUE}"))
    data = weights.with_name(f"{weights.name}.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[tensor.offset + 1] ^= 1
    data.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged: .*[Cc]hecksum.*; fetch it again$"):
        save(weights, tmp_path / "out")
    with pytest.raises(UserError, match=r"damaged: .*[Cc]hecksum.*; fetch it again$"):
        restore(published, weights, "w")
