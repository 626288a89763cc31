"""Records of images whose colour encodes their index, read by this reader and the Model Garden's."""

import os
from collections import Counter

import cv2
import numpy as np
import pytest
import tensorflow as tf

from pipeline import files
from pipeline.console import UserError
from pipeline.video.parsing import decode_frames, parse_clip, parse_clip_header, read_clips
from pipeline.video.records import (
    clip_positions,
    parse_record,
    read_record,
    serialize_clip,
    shard_names,
    shard_order,
    write_shard,
)


def colour(clip: int, frame: int) -> np.ndarray:
    return np.array([30 + 40 * clip, 20 + 25 * frame, 200])


def jpeg(clip: int, frame: int) -> bytes:
    image = np.broadcast_to(colour(clip, frame), (48, 64, 3)).astype(np.uint8)
    return cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def record(clip: int, frames: int = 6) -> bytes:
    jpegs = [jpeg(clip, frame) for frame in range(frames)]
    return serialize_clip(f"Ä/{clip}.avi", clip, "Ä", f"Ä_g{clip:02d}", jpegs, [200_000 * frame for frame in range(frames)])


def largest_error(images, clip: int, frames) -> float:
    """The largest difference from the colours that were written."""
    return max(np.abs(np.asarray(image, float) - colour(clip, frame)).max() for image, frame in zip(images, frames, strict=True))


def test_a_clip_survives_serialization():
    clip = parse_clip(tf.constant(record(3)))
    assert clip["frames"].shape == (6, 48, 64, 3) and clip["frames"].dtype == tf.uint8
    assert largest_error(clip["frames"], 3, range(6)) < 5
    assert clip["label"].numpy() == 3 and clip["count"].numpy() == 6
    assert (
        clip["clip"].numpy().decode() == "Ä/3.avi"
        and clip["group"].numpy().decode() == "Ä_g03"
        and clip["text"].numpy().decode() == "Ä"
    )
    assert clip["timestamps"].numpy().tolist() == [0, 200_000, 400_000, 600_000, 800_000, 1_000_000]


def test_a_record_is_what_tensorflow_serializes():
    """Byte by byte, with values whose encodings have one and several bytes, and an empty one."""

    def ints(value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    def text(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    jpegs, times = [b"x", b"", b"y" * 300, b"z" * 70_000], [0, 127, 128, 4_000_000_000]
    context = {"clip/label/index": ints(300), "clip/label/text": text("Ä".encode()), "clip/id": text(b"a/1.avi")}
    context |= {"clip/group": text(b""), "clip/frames": ints(4)}
    features = {"image/encoded": [text(jpeg) for jpeg in jpegs], "image/timestamp": [ints(time) for time in times]}
    lists = {key: tf.train.FeatureList(feature=values) for key, values in features.items()}
    example = tf.train.SequenceExample(
        context=tf.train.Features(feature=context), feature_lists=tf.train.FeatureLists(feature_list=lists)
    )
    serialized = serialize_clip("a/1.avi", 300, "Ä", "", jpegs, times)
    assert serialized == example.SerializeToString(deterministic=True)
    assert parse_record(serialized) == ("a/1.avi", 300, "", jpegs, times)


def test_a_file_is_what_tensorflow_writes(tmp_path):
    clips = [record(0), record(1)]
    write_shard(tmp_path / "ours.tfrecord", clips)
    with tf.io.TFRecordWriter(str(tmp_path / "theirs.tfrecord")) as writer:
        for clip in clips:
            writer.write(clip)
    assert (tmp_path / "ours.tfrecord").read_bytes() == (tmp_path / "theirs.tfrecord").read_bytes()


def test_a_damaged_record_is_refused(tmp_path):
    file = tmp_path / "a.tfrecord"
    write_shard(file, [record(0), record(1)])
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    first, second = clip_positions([file])
    assert read_record(first) == record(0)
    with pytest.raises(UserError, match=r"a\.tfrecord: damaged \(a checksum does not match\); run `dvc repro --force extract`"):
        read_record(second)


def test_only_chosen_frames_are_decoded():
    """The other frames are not JPEGs. Indices in any order and repeated, in a graph and eagerly."""
    encoded = tf.constant([b"junk", jpeg(0, 1), b"junk", jpeg(0, 3)])
    assert largest_error(decode_frames(encoded, [3, 1, 3]), 0, [3, 1, 3]) < 5
    graph = tf.function(decode_frames).get_concrete_function(tf.TensorSpec([None], tf.string), tf.TensorSpec([2], tf.int32))
    assert graph.output_shapes.as_list() == [2, None, None, 3]
    assert largest_error(graph(encoded, tf.constant([1, 3])), 0, [1, 3]) < 5
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_frames(encoded, [0])
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_frames(encoded, [4])


def test_the_header_is_parsed_without_decoding():
    serialized = serialize_clip("a/1.avi", 1, "a", "g", [b"junk", b"junk"], [0, 1])
    header = parse_clip_header(tf.constant(serialized))
    assert header["encoded"].numpy().tolist() == [b"junk", b"junk"] and header["count"].numpy() == 2


def test_a_record_needs_frames_and_timestamps():
    for jpegs, times in (([], []), ([b"x"], [])):
        with pytest.raises(ValueError, match=r"^a/1\.avi: needs at least one frame"):
            serialize_clip("a/1.avi", 1, "a", "g", jpegs, times)


def test_shards():
    clips = [f"{name}/{number}.avi" for name in "abc" for number in range(100)]
    order = shard_order(clips)
    assert order == shard_order(reversed(clips)) and sorted(order) == sorted(clips) != order
    assert max(Counter(clip[0] for clip in order[:90]).values()) < 45, "classes are shuffled"
    assert shard_names("train", 100, 8)[::7] == ["train-00000-of-00008.tfrecord", "train-00007-of-00008.tfrecord"]
    assert shard_names("test", 3, 8) == [f"test-0000{index}-of-00003.tfrecord" for index in range(3)]
    assert shard_names("validation", 0, 8) == []


def write_shards(folder, clips: int, shards: int) -> list:
    files = [folder / name for name in shard_names("train", clips, shards)]
    for index, file in enumerate(files):
        write_shard(file, (record(clip, 2) for clip in range(index, clips, len(files))))
    return files


@pytest.mark.parametrize("parallelism", [None, 1, 2, 16])
def test_reading_restores_the_order(tmp_path, parallelism):
    files = write_shards(tmp_path, 5, 3)
    assert [file.name for file in sorted(tmp_path.iterdir())] == [file.name for file in files], "no temporary files remain"
    labels = [int(parse_clip_header(clip)["label"]) for clip in read_clips(files, parallelism=parallelism)]
    assert labels == [0, 1, 2, 3, 4]
    unordered = {int(parse_clip_header(clip)["label"]) for clip in read_clips(files, deterministic=False)}
    assert unordered == set(range(5))


def test_a_shard_may_be_empty(tmp_path):
    """All of its clips may be skipped."""
    write_shard(tmp_path / "a.tfrecord", [])
    assert list(read_clips([tmp_path / "a.tfrecord"])) == []


def test_missing_files_are_errors(tmp_path):
    with pytest.raises(UserError, match="no TFRecord files"):
        read_clips([])
    with pytest.raises(UserError, match=r"a\.tfrecord: not found"):
        read_clips([tmp_path / "a.tfrecord"])


def test_a_shard_is_written_atomically(tmp_path):
    def records():
        yield record(0, 1)
        raise KeyError("killed")

    with pytest.raises(KeyError):
        write_shard(tmp_path / "a.tfrecord", records())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_a_user_error(tmp_path, monkeypatch):
    (tmp_path / ".a.part").symlink_to("/dev/full")
    monkeypatch.setattr(files, "_part_of", lambda path: tmp_path / ".a.part")
    with pytest.raises(UserError, match=r"a\.tfrecord: the disk is full"):
        write_shard(tmp_path / "a.tfrecord", [b"x" * 1_000_000])


@pytest.mark.slow
def test_the_model_gardens_reader_reads_the_records(tmp_path):
    from official.vision.configs import video_classification
    from official.vision.dataloaders import video_input

    files = write_shards(tmp_path, 5, 2)
    config = video_classification.DataConfig(
        feature_shape=(2, 48, 48, 3), temporal_stride=1, min_image_size=48, num_classes=5, num_test_clips=1, num_test_crops=1
    )
    decoder = video_input.Decoder(image_key="image/encoded", label_key="clip/label/index")
    parse = video_input.Parser(config, image_key="image/encoded", label_key="clip/label/index").parse_fn(is_training=False)
    for clip, serialized in enumerate(read_clips(files)):
        features, label = parse(decoder.decode(serialized))
        assert label.numpy().tolist() == np.eye(5)[clip].tolist()
        assert features["image"].shape == (2, 48, 48, 3)
        assert largest_error(features["image"].numpy() * 255, clip, range(2)) < 5
