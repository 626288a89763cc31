"""Identifying variables and variants by the index of a checkpoint, without building networks and without TensorFlow."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.checksums import masked_crc32c
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.models.movinet.network.weights.bundle import VALUE, Index, NotAnIndexError, Tensor, read_index
from pipeline.models.movinet.network.weights.layouts import (
    LAYOUTS,
    are_published_values,
    contents_of,
    find_mismatch,
    find_other_types,
    layout_of,
    matching_variants,
)
from pipeline.models.movinet.network.weights.saved_model_names import checkpoint_keys, name_in_key

BACKBONE = "model/layer_with_weights-0"


def test_every_variant_has_a_layout_of_its_own():
    assert set(LAYOUTS) == set(VARIANTS)
    assert len({layout.fingerprint for layout in LAYOUTS.values()}) == len(LAYOUTS)
    assert len({layout.shapes for layout in LAYOUTS.values()}) == len(LAYOUTS)


@pytest.mark.parametrize(
    ("name", "key"),
    [  # names in TensorFlow Hub's SavedModels, in the Model Garden of 2021 and in the current one
        ("stem/stem/conv3d/kernel", "layer_with_weights-0/_stem/_conv/kernel"),
        ("stem/stem/conv2d/bn/gamma", "layer_with_weights-0/_stem/_batch_norm/gamma"),
        ("b0/l0/scale", "layer_with_weights-1/_mobile_bottleneck/_rezero/scale"),
        ("block0_layer1/bneck/feature/bn/moving_mean", "layer_with_weights-2/_feature/_batch_norm/moving_mean"),
        ("b0/l1/bneck/feature/conv2d_temporal/depthwise_conv2d_1/depthwise_kernel",
         "layer_with_weights-2/_feature/_conv_temporal/_conv/depthwise_kernel"),
        ("b1/l0/bneck/feature/conv2d_temporal/bn_temporal/beta", "layer_with_weights-3/_feature/_batch_norm_temporal/beta"),
        ("b1/l0/bneck/skip/skip_project/conv2d/conv2d_4/kernel", "layer_with_weights-3/_skip/_projection/_conv/_conv/kernel"),
        ("b1/l0/bneck/se/se_reduce/conv3d/bias", "layer_with_weights-3/_attention/_se_reduce/_conv/bias"),
        ("b1/l0/bneck/se/pos_encoding/scale", "layer_with_weights-3/_attention/_pos_encoding/_rezero/scale"),
        ("head/project/conv3d/kernel", "layer_with_weights-4/_project/_conv/kernel"),
    ],
)  # fmt: skip
def test_names_are_mapped_to_the_keys_of_training_checkpoints(name, key):
    others = ["b0/l0/bneck/expansion/bn/beta", "block0_layer1/bneck/expansion/bn/beta", "b1/l0/bneck/expansion/bn/beta"]
    names = {f"variables/{number}{VALUE}": one for number, one in enumerate([*others, name])}
    assert checkpoint_keys(names)[f"variables/3{VALUE}"] == f"{BACKBONE}/{key}{VALUE}"


def test_names_of_the_head_are_mapped_and_unknown_names_ignored():
    names = {"1": "classifier_head_3/classifier/conv3d/kernel", "2": "dense/kernel", "3": "b0/l0/other/kernel"}
    assert checkpoint_keys(names) == {"1": f"model/layer_with_weights-1/_classifier/_conv/kernel{VALUE}"}


def test_the_scale_of_a_positional_encoding_belongs_to_its_neighbours_block():
    """Keras builds it outside of the block's name scope, so all have the name `scale`."""
    listed = ["stem/stem/bn/beta", "b0/l0/bneck/projection/bn/beta", "scale", "b0/l0/scale", "b0/l1/scale", "scale_1",
              "b0/l1/bneck/expansion/bn/beta", "scale_2", "head/project/bn/beta"]  # fmt: skip
    found = checkpoint_keys({f"variables/{number}{VALUE}": name for number, name in enumerate(listed)})
    position = "_attention/_pos_encoding/_rezero/scale"
    assert found[f"variables/2{VALUE}"] == f"{BACKBONE}/layer_with_weights-1/{position}{VALUE}"
    assert found[f"variables/5{VALUE}"] == f"{BACKBONE}/layer_with_weights-2/{position}{VALUE}"
    assert f"variables/7{VALUE}" not in found  # its neighbours are a block and the head


def test_a_name_is_decoded_from_the_attribute_of_a_wrapper():
    assert name_in_key(f"layer_with_weights-0/b0.Sl0.Sbneck.Sse.Sscale:0{VALUE}") == "b0/l0/bneck/se/scale"


def test_variables_of_the_network_are_told_from_others():
    keyed = {
        f"model/layer-1/kernel{VALUE}": (2, 3),
        f"backbone/layer-1/kernel{VALUE}": (2, 3),
        "_CHECKPOINTABLE_OBJECT_GRAPH": (),
    }
    harmless = [
        "save_counter", "_save_counter", "global_step", "optimizer/iter", "optimizer/_variables/3", "keras_api/metrics/0/total",
        "model/layer-1/kernel/.OPTIMIZER_SLOT/optimizer/m", "layer_with_weights-0/_func/keras_api/metrics/0/count",
    ]  # fmt: skip
    contents = contents_of(keyed | {f"{key}{VALUE}": () for key in harmless})
    assert contents.variables == {f"model/layer-1/kernel{VALUE}": f"model/layer-1/kernel{VALUE}"}
    assert not contents.unknown and not contents.saved_model
    assert set(contents.ignored) == {f"{key}{VALUE}" for key in [*harmless, "backbone/layer-1/kernel"]}
    own = contents_of({f"variables/0{VALUE}": (2,), f"dense/kernel{VALUE}": (3,), f"keras_api/metrics/0/total{VALUE}": ()})
    assert own.saved_model and len(own.unknown) == 2 and len(own.ignored) == 1


def test_of_two_variables_with_one_name_the_second_is_unknown():
    names = {f"variables/{number}{VALUE}": "stem/stem/bn/gamma" for number in range(2)}
    contents = contents_of(dict.fromkeys(names, (8,)), names)
    assert len(contents.variables) == 1 and list(contents.unknown) == ["variables/1 = stem/stem/bn/gamma"]


def test_a_mismatch_names_the_variant_of_the_weights():
    a0, a2, relu6 = LAYOUTS["a0"], LAYOUTS["a2"], LAYOUTS["a0_stream_relu6"]
    assert find_mismatch(a0, a0) is None
    assert find_mismatch(a2, a0) == ("these are weights of a2, not of a0", "set model=a2, or give the weights of a0")
    two = type(a0)(a0.blocks, a0.variables, a0.parameters, a0.fingerprint, "another", classes=2)
    message, advice = find_mismatch(two, a0)
    assert message == "these are weights of a0 with 2 classes, not 600" and "use --model models/classifier" in advice
    renamed = type(a0)(0, a0.variables, a0.parameters, "another", a0.shapes)
    assert find_mismatch(renamed, a0)[0] == "the shapes are those of a0, but not the names, which identify the variables"
    unknown = type(a0)(0, 5, 5, "unknown", "unknown")
    message, _ = find_mismatch(unknown, relu6, ["1 missing (x)"])
    assert message == "does not fit a0_stream_relu6 (5 variables, not 329): 1 missing (x)"


def test_values_of_another_dtype_are_found():
    key = f"model/layer-1/kernel{VALUE}"
    index = Index({key: Tensor(19, (2,), 0, 0, 4, 0)}, 1)
    assert find_other_types(contents_of(index.shapes), index) == ["model/layer-1/kernel"]


def test_the_checksum_is_that_of_tensorflow():
    assert masked_crc32c(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.fixture
def published() -> Path:
    folder = os.environ.get("MOVINET_REAL_DATA")
    if not folder:
        pytest.skip("MOVINET_REAL_DATA names no folder with published/")
    return Path(folder) / "published"


def table(published: Path, name: str) -> dict[str, dict]:
    return json.loads((published / f"{name}_published_crc32c.json").read_text())


@pytest.mark.real
@pytest.mark.parametrize(("variant", "file", "name"), [("a2", "a2_base", "name"), ("a2_stream", "a2_stream", "real_name")])
def test_published_names_are_mapped_to_published_keys(published, variant, file, name):
    """All 554 and 649 of them, in random order."""
    expected = {f"variables/{number}{VALUE}": f"{key}{VALUE}" for number, key in enumerate(table(published, file))}
    names = {f"variables/{number}{VALUE}": entry[name] for number, entry in enumerate(table(published, file).values())}
    order = np.random.default_rng(1).permutation(sorted(names))
    assert checkpoint_keys({str(key): names[key] for key in order}) == expected
    assert len(expected) == LAYOUTS[variant].variables


@pytest.mark.real
def test_the_index_of_tensorflow_hubs_a2_base_is_identified(published):
    index = read_index((published / "a2_base_savedmodel_variables.index").read_bytes())
    assert len(index.tensors) == 557
    unnamed = contents_of(index.shapes)  # its data file, which contains the names, is not available
    assert unnamed.ignored == [f"keras_api/metrics/0/{name}{VALUE}" for name in ("count", "total")]
    assert matching_variants(layout_of(unnamed)) == ["a2"]
    names = {f"{entry['real_key']}{VALUE}": entry["name"] for entry in table(published, "a2_base").values()}
    contents = contents_of(index.shapes, names)
    assert find_mismatch(layout_of(contents), LAYOUTS["a2"]) is None and len(contents.variables) == 554
    assert find_mismatch(layout_of(contents), LAYOUTS["a2_stream"])[0] == "these are weights of a2, not of a2_stream"
    assert are_published_values(contents, index) and find_other_types(contents, index) == []


@pytest.mark.real
def test_the_index_of_a_wrapped_a2_stream_is_identified(published):
    index = read_index((published / "a2_stream_wrapped_savedmodel_variables.index").read_bytes())
    contents = contents_of(index.shapes)
    assert len(contents.variables) == 649 and not contents.unknown and len(contents.ignored) == 2
    assert find_mismatch(layout_of(contents), LAYOUTS["a2_stream"]) is None
    assert are_published_values(contents, index)
    key, tensor = next((key, tensor) for key, tensor in index.tensors.items() if tensor.shape == (600,))
    changed = index.tensors | {key: Tensor(tensor.dtype, tensor.shape, 0, tensor.offset, tensor.size, tensor.crc32c ^ 1)}
    assert not are_published_values(contents, Index(changed, index.shards))


@pytest.mark.real
@pytest.mark.parametrize("offset", [10, 5000, 31000])
def test_a_changed_byte_in_an_index_is_detected(published, offset):
    content = bytearray((published / "a2_base_savedmodel_variables.index").read_bytes())
    content[offset] ^= 1
    with pytest.raises(NotAnIndexError, match="damaged"):
        read_index(bytes(content))
