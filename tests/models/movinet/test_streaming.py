"""A stream network, run frame by frame or in chunks, gives the logits of the Model Garden's whole-clip network."""

import functools
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from pipeline.artifacts import ClassifierDescription
from pipeline.console import UserError
from pipeline.inference.openvino_stream import OpenvinoStream
from pipeline.inference.stepper import softmax
from pipeline.models.movinet.frame_graph import frame_graph
from pipeline.models.movinet.network.build import batch_norm_layers, build_backbone, build_classifier, set_rezero
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.models.movinet.network.weights.copying import write_checkpoint_state
from pipeline.models.movinet.stream import StreamingClassifier, open_stream, pretrained_streaming
from pipeline.video.sampling import Sampling
from tests.models.movinet.small import small_variants

pytestmark = pytest.mark.xdist_group("streaming")
SIZE, FRAMES = 48, 6
CLASSES = ["one", "two", "three"]


def lively(variant_id: str, seed: int = 3):
    """A random classifier in which all residual branches, batch norms and positional encodings have an effect."""
    tf_keras.utils.set_random_seed(seed)
    variant = VARIANTS[variant_id]
    backbone = build_backbone(variant)
    set_rezero(backbone, 0.4)
    rng = np.random.default_rng(seed)
    for layer in batch_norm_layers(backbone):
        gamma, beta, mean, variance = layer.get_weights()
        layer.set_weights(
            [
                rng.uniform(0.7, 1.3, gamma.shape),
                rng.normal(0, 0.2, beta.shape),
                rng.normal(0, 0.2, mean.shape),
                rng.uniform(0.5, 1.5, variance.shape),
            ]
        )
    classifier = build_classifier(variant, backbone, len(CLASSES))
    kernel = classifier.layers[-1].weights[2]
    kernel.assign(rng.normal(0, 0.3, kernel.shape))
    return classifier


def clip(frames: int = FRAMES, size: int = SIZE) -> tf.Tensor:
    return tf.constant(np.random.default_rng(5).uniform(size=(1, frames, size, size, 3)), tf.float32)


def streamed(network: StreamingClassifier, image: tf.Tensor, chunks: list[int]) -> np.ndarray:
    """The logits after each chunk."""
    states, outputs, start = network.init_states(image.shape[2]), [], 0
    for count in chunks:
        logits, states = network.call(image[:, start : start + count], states)
        outputs.append(logits[0].numpy())
        start += count
    return np.stack(outputs)


@functools.cache
def whole(variant_id: str, *, small: bool) -> tuple:
    """A random classifier, a clip, and the logits of the Model Garden's whole-clip network for its first 1, 2, ... frames."""
    with small_variants() if small else nullcontext():
        classifier, image = lively(variant_id), clip()
    spec = tf.TensorSpec([1, None, SIZE, SIZE, 3])
    call = tf.function(lambda frames: classifier({"image": frames}, training=False), input_signature=[spec], autograph=False)
    expected = np.concatenate([call(image[:, :end]).numpy() for end in range(1, FRAMES + 1)])
    assert np.ptp(expected, axis=0).max() > 1e-2 * np.abs(expected).max()  # later frames matter
    return classifier, image, expected


def check(variant_id: str, chunks: list[int], *, small: bool) -> None:
    classifier, image, expected = whole(variant_id, small=small)
    network = StreamingClassifier(classifier, VARIANTS[variant_id], CLASSES, fps=5.0, size=SIZE)
    logits = streamed(network, image, chunks)
    np.testing.assert_allclose(logits, expected[np.cumsum(chunks) - 1], rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def check_openvino(variant_id: str, folder: Path, *, small: bool) -> None:
    """A frame at a time, twice: the second stream starts anew."""
    with small_variants() if small else nullcontext():
        classifier, image, expected = whole(variant_id, small=small)
        prefix = tf.train.Checkpoint(model=classifier).write(str(folder / "ckpt-1"))
        write_checkpoint_state(Path(prefix))
        stream = OpenvinoStream(frame_graph(folder, described(variant_id))())
    for _ in range(2):
        stream.reset()
        logits = np.stack([stream.step(frame) for frame in image[0].numpy()])
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(softmax(logits), softmax(expected), atol=1e-5)


@pytest.mark.parametrize("variant_id", ["a0_stream", "a0_stream_relu6", "a3_stream"])
def test_openvino_gives_the_logits_of_the_whole_clip_network(variant_id, tmp_path):
    check_openvino(variant_id, tmp_path, small=True)


@pytest.mark.parametrize("variant_id", ["a0_stream", "a0_stream_relu6", "a3_stream"])
def test_a_stream_gives_the_logits_of_the_whole_clip_network(variant_id):
    """Each kind of stream network: as published, without squeeze-and-excitation, and with positional encodings."""
    for chunks in ([1] * FRAMES, [1, 4, 1]):
        check(variant_id, chunks, small=True)


@pytest.mark.slow
def test_so_does_one_of_full_size():
    """A1, which has every kernel size and stride of A0 to A5."""
    check("a1_stream", [1, 1, 3, 1], small=False)


@pytest.mark.slow
def test_so_does_openvino_at_full_size(tmp_path):
    check_openvino("a1_stream", tmp_path, small=False)


@pytest.mark.slow
def test_states_have_the_published_names_and_shapes():
    variant_id = "a0_stream_relu6"
    network = StreamingClassifier(lively(variant_id), VARIANTS[variant_id], CLASSES, fps=5.0, size=172)
    states = network.init_states()
    assert states["state_block1_layer0_stream_buffer"].shape == (1, 2, 22, 22, 80)
    assert states["state_block4_layer0_stream_buffer"].shape == (1, 4, 6, 6, 384)
    assert states["state_head_pool_buffer"].shape == (1, 1, 1, 1, 480)
    assert states["state_head_pool_frame_count"].dtype == tf.int32
    image = tf.zeros([1, 1, 172, 172, 3])
    _, after = network.call(image, states)
    assert {name: (state.shape, state.dtype) for name, state in after.items()} == {
        name: (state.shape, state.dtype) for name, state in states.items()
    }
    assert int(after["state_head_pool_frame_count"][0]) == 1


def described(model: str, **changes) -> ClassifierDescription:
    known = {"classes": CLASSES, "model": model, "fps": 5.0, "size": SIZE, "count": 3, "views": 2}
    return ClassifierDescription(**known | changes)


def test_a_trained_classifier_is_opened_with_its_description(tmp_path):
    relu6, image, expected = whole("a0_stream_relu6", small=True)
    tf.train.Checkpoint(model=relu6).write(str(tmp_path / "ckpt-1"))
    write_checkpoint_state(tmp_path / "ckpt-1")
    with small_variants():
        network = open_stream(tmp_path, described("a0_stream_relu6", fps=7.5))
    assert (network.classes, network.fps, network.size, network.model) == (CLASSES, 7.5, SIZE, "a0_stream_relu6")
    assert (network.sampling, network.views) == (Sampling(3, SIZE), 2)
    np.testing.assert_allclose(streamed(network, image, [1] * FRAMES), expected, rtol=1e-3, atol=1e-4)


def test_a_base_network_is_refused_before_a_network_is_built(tmp_path):
    with pytest.raises(UserError, match="model=a2_stream"):
        open_stream(tmp_path, described("a2"))
    with pytest.raises(UserError, match="model=a1_stream"):
        pretrained_streaming("a1", "pretrained", CLASSES)
    with pytest.raises(UserError, match="without its checkpoint"):
        open_stream(tmp_path / "absent", described("a2_stream"))


def test_a_classifier_with_another_activation_is_refused(tmp_path):
    with pytest.raises(UserError, match="trained when a0_stream had hard_swish in its head, not swish; train it again"):
        open_stream(tmp_path, described("a0_stream", activation="hard_swish"))


def test_another_number_of_names_than_pretrained_classes_is_refused():
    with pytest.raises(UserError, match="3 names of classes given"):
        pretrained_streaming("a0_stream", "pretrained", CLASSES)
