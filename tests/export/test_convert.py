"""Files of every format: they can be opened, carry their metadata, and give the network's outputs."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest

from pipeline.console import UserError
from pipeline.export.convert import convert
from pipeline.export.flatbuffer import pack, text, unpack
from pipeline.export.frame_model import stream_inputs
from pipeline.export.measure import stream_logits
from pipeline.export.quantise import calibrate
from pipeline.inference.lite import LiteClassifier, read_metadata
from pipeline.settings import EXPORT_FORMATS
from pipeline.video.sampling import Sampling
from tests.inference.small import DECISION

pytestmark = pytest.mark.xdist_group("exporting")
SIZE, FRAMES = 32, 5
CLASSES = ["one", "zwei", "três"]


def clips(count: int, seed: int) -> list[np.ndarray]:
    """Clips that differ in brightness and contrast, float32 (FRAMES, SIZE, SIZE, 3)."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        low, high = np.sort(rng.uniform(size=2))
        result.append(rng.uniform(low, high, (FRAMES, SIZE, SIZE, 3)).astype(np.float32))
    return result


@pytest.fixture(scope="module")
def network():
    from pipeline.models.movinet.network.variants import VARIANTS
    from pipeline.models.movinet.stream import StreamingClassifier
    from tests.models.movinet.small import small_variants
    from tests.models.movinet.test_streaming import lively

    variant_id = "a0_stream_relu6"
    with small_variants():
        classifier = lively(variant_id)
    return StreamingClassifier(
        classifier,
        VARIANTS[variant_id],
        CLASSES,
        fps=5.0,
        size=SIZE,
        sampling=Sampling(3, SIZE),
        views=2,
        decision=DECISION,
    )


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite")
    for format in EXPORT_FORMATS:
        (folder / f"{format}.tflite").write_bytes(convert(network, format, clips(3, seed=1)))
    return folder


def logits_by_frame(network, clip: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    states, outputs = network.init_states(), []
    for frame in clip:
        logits, states = network.call(tf.constant(frame[None, None]), states)
        outputs.append(logits[0].numpy())
    return np.stack(outputs)


@pytest.mark.parametrize(("format", "tolerance"), [("float32", 1e-4), ("float16", 0.02), ("dynamic", 0.2), ("int8", 0.3)])
def test_every_format_gives_the_networks_logits_frame_by_frame(network, files, format, tolerance):
    lite = LiteClassifier(files / f"{format}.tflite")
    for clip in clips(2, seed=2):
        expected = logits_by_frame(network, clip)
        spread = expected.max() - expected.min()
        assert np.abs(stream_logits(lite, clip) - expected).max() < tolerance * spread


def test_a_file_carries_its_metadata(files):
    for format in EXPORT_FORMATS:
        lite = LiteClassifier(files / f"{format}.tflite")
        assert (lite.classes, lite.fps, lite.size, lite.format, lite.model) == (CLASSES, 5.0, SIZE, format, "a0_stream_relu6")
        assert read_metadata(files / f"{format}.tflite").decision == DECISION


def test_quantised_files_are_smaller(files):
    size = {format: (files / f"{format}.tflite").stat().st_size for format in EXPORT_FORMATS}
    assert size["float16"] < 0.55 * size["float32"]
    assert size["dynamic"] < 0.4 * size["float32"]
    assert size["int8"] < 0.4 * size["float32"]


def test_the_interface_is_the_published_one(network, files):
    from ai_edge_litert.interpreter import Interpreter

    for format in EXPORT_FORMATS:
        interpreter = Interpreter(str(files / f"{format}.tflite"))
        (signature,) = interpreter.get_signature_list().items()
        assert signature[0] == "call"
        runner = interpreter.get_signature_runner("call")
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        assert set(inputs) == {"image", *network.state_specs}
        assert set(outputs) == {"logits", *network.state_specs}
        for name, spec in network.state_specs.items():
            assert tuple(inputs[name]["shape"]) == tuple(outputs[name]["shape"]) == tuple(spec.shape)
            assert inputs[name]["dtype"] == outputs[name]["dtype"] == spec.dtype.as_numpy_dtype
        operations = {operation["op_name"] for operation in interpreter._get_ops_details()}
        assert not [name for name in operations if name.startswith(("Flex", "Custom"))]


def test_labels_are_stored_as_the_metadata_standard_requires(files):
    from ai_edge_litert import schema_py_generated as schema

    path = files / "int8.tflite"
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().splitlines() == CLASSES
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    (entry,) = [item for item in model.metadata if item.name == b"TFLITE_METADATA"]
    content = bytes(model.buffers[entry.buffer].data)
    assert content[4:8] == b"M001"
    for part in (b"a0_stream_relu6", b"labels.txt", b"logits", b"state_head_pool_buffer", b"1.0.0"):
        assert part in content


def test_reset_clears_the_states(files):
    lite = LiteClassifier(files / "int8.tflite")
    first, second = clips(2, seed=3)
    before = stream_logits(lite, first)
    stream_logits(lite, second)
    np.testing.assert_array_equal(stream_logits(lite, first), before)


def test_unusable_files_labels_and_frames_are_refused(files, tmp_path):
    with pytest.raises(UserError, match="not found"):
        LiteClassifier(tmp_path / "absent.tflite")
    (tmp_path / "text.tflite").write_text("not a model at all, but long enough to look at")
    with pytest.raises(UserError, match="not a TensorFlow Lite file"):
        LiteClassifier(tmp_path / "text.tflite")
    with pytest.raises(UserError, match="has 3 classes, but 2 labels"):
        LiteClassifier(files / "float32.tflite", labels=["a", "b"])
    with pytest.raises(ValueError, match="expected float32"):
        LiteClassifier(files / "float32.tflite").step(np.zeros((SIZE, SIZE, 3)))


def test_a_file_without_metadata_runs_if_labels_are_given(files, tmp_path):
    content = (files / "float32.tflite").read_bytes()
    with zipfile.ZipFile(files / "float32.tflite") as archive:
        end = min(item.header_offset for item in archive.infolist())
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(content[:end])
    assert read_metadata(bare) is None
    with pytest.raises(UserError, match="holds no labels"):
        LiteClassifier(bare)
    lite = LiteClassifier(bare, labels=["a", "b", "c"])
    assert (lite.classes, lite.fps, lite.format) == (["a", "b", "c"], None, None)
    (clip,) = clips(1, seed=4)
    np.testing.assert_array_equal(stream_logits(lite, clip), stream_logits(LiteClassifier(files / "float32.tflite"), clip))


def test_int8_leaves_sums_and_the_first_blocks_in_float(files):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(files / "int8.tflite"), experimental_op_resolver_type=_without_xnnpack())
    interpreter.allocate_tensors()
    types = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    operations = [(one["op_name"], one["inputs"][0], one["outputs"][0]) for one in interpreter._get_ops_details()]
    convolutions = [(names[output], types[input]) for name, input, output in operations if "CONV_2D" in name]
    early = [kind for name, kind in convolutions if name.startswith(("stem", "block0_", "block1_"))]
    late = [kind for name, kind in convolutions if name.startswith(("block2_", "block3_", "block4_"))]
    assert len(early) == 10 and set(early) == {np.float32}
    assert len(late) == 9 and set(late) == {np.int8}
    assert not [name for name, input, _ in operations if name in ("ADD", "DIV", "MEAN") and types[input] == np.int8]


def _without_xnnpack():
    """An op resolver without XNNPACK, which would hide the operations that it replaces."""
    from ai_edge_litert.interpreter import OpResolverType

    return OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def test_equal_networks_give_equal_files(network, files):
    assert convert(network, "dynamic") == (files / "dynamic.tflite").read_bytes()


def test_int8_without_clips_and_unknown_formats_are_refused(network):
    with pytest.raises(ValueError, match="no frames"):
        convert(network, "int8", [])
    with pytest.raises(ValueError, match="calibrate"):
        convert(network, "int8")
    with pytest.raises(ValueError, match="no format"):
        convert(network, "int4")


def test_the_saved_model_gives_the_networks_outputs_frame_by_frame_and_for_whole_clips(network, tmp_path):
    import tensorflow as tf

    from pipeline.export.saved import save_streaming
    from pipeline.inference.saved_stream import SavedStream
    from pipeline.video.views import test_views

    save_streaming(network, tmp_path / "saved")
    (clip,) = clips(1, seed=5)
    expected = logits_by_frame(network, clip)
    np.testing.assert_allclose(stream_logits(SavedStream(tmp_path / "saved"), clip), expected, rtol=1e-4, atol=1e-4)
    assert SavedStream(tmp_path / "saved").decision == DECISION
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    logits, _ = loaded.call(tf.constant(clip[None]), loaded.init_states())
    np.testing.assert_allclose(logits[0], expected[-1], rtol=1e-4, atol=1e-4)
    named = loaded.signatures["call"](image=tf.constant(clip[None]), **loaded.signatures["init_states"]())
    np.testing.assert_allclose(named["logits"][0], expected[-1], rtol=1e-4, atol=1e-4)
    frames = tf.constant(np.uint8(255 * np.stack([clip, clip[::-1]])))
    served = loaded.signatures["serving_default"](frames=frames)["probabilities"].numpy()
    for views, probabilities in zip(test_views(frames, network.sampling, network.views).numpy(), served, strict=True):
        by_view = [tf.nn.softmax(logits_by_frame(network, view)[-1]).numpy() for view in views]
        np.testing.assert_allclose(probabilities, np.mean(by_view, axis=0), atol=1e-4)
    assert [name.decode() for name in loaded.classes.numpy()] == CLASSES


def test_opening_a_file_prints_nothing(files):
    """In a separate process, because LiteRT writes its notice once per process."""
    program = "import sys; from pipeline.inference.lite import LiteClassifier; LiteClassifier(sys.argv[1]).reset()"
    command = [sys.executable, "-c", program, str(files / "float32.tflite")]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (shown.stdout, shown.stderr) == ("", "")


def test_the_saved_model_holds_the_weights_once(network, files, tmp_path):
    from pipeline.export.saved import save_streaming

    save_streaming(network, tmp_path / "saved")
    written = sum(path.stat().st_size for path in (tmp_path / "saved").rglob("*") if path.is_file())
    assert written < 1.2 * (files / "float32.tflite").stat().st_size


def test_ranges_are_those_of_what_an_operation_computes(network):
    """Of the operands of sums and products, which the interpreter overwrites in place: each is made an output, which it keeps."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    calibrated = unpack(calibrate(network, clips(2, seed=3)))
    graph, inputs = calibrated.subgraphs[0], list(stream_inputs(network, clips(2, seed=3)))
    codes = [calibrated.operatorCodes[one.opcodeIndex].builtinCode for one in graph.operators]
    kinds = (BuiltinOperator.ADD, BuiltinOperator.MUL)
    overwriting = [one for one, code in zip(graph.operators, codes, strict=True) if code in kinds]
    computed = {one.outputs[0] for one in graph.operators}
    operands = sorted(computed & {index for one in overwriting for index in one.inputs})
    assert len(operands) > 5
    (logits,) = [one for one in calibrated.signatureDefs[0].outputs if text(one.name) == "logits"]
    for index in operands:
        found = graph.tensors[index].quantization
        logits.tensorIndex, graph.outputs = index, np.append(graph.outputs, np.int32(index))
        run = Interpreter(model_content=pack(calibrated)).get_signature_runner("call")
        values = np.concatenate([run(**frame)["logits"].reshape(-1) for frame in inputs])
        assert found.min[0] == pytest.approx(values.min(), rel=1e-3, abs=1e-5), text(graph.tensors[index].name)
        assert found.max[0] == pytest.approx(values.max(), rel=1e-3, abs=1e-5), text(graph.tensors[index].name)
