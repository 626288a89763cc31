"""Reads the index of a TensorFlow checkpoint, `<prefix>.index`, without TensorFlow, whose import takes as long as all checks.

The index is a LevelDB table whose keys are the variables' and whose values are `BundleEntryProto` messages
(tensorflow/core/lib/io/table_format.txt, tensorflow/core/protobuf/tensor_bundle.proto). TensorFlow writes it uncompressed.
"""

from collections.abc import Iterator

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
TRAILER = 5  # after a block: its compression and a checksum


class NotAnIndexError(ValueError):
    """The bytes are not the index of a checkpoint."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block that `handle` (offset and size) points at."""
    offset, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    if offset + size + TRAILER > len(data):
        raise NotAnIndexError("it is cut short")
    if data[offset + size] != 0:
        raise NotAnIndexError("it is compressed, as TensorFlow does not write it")
    block = data[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end, at, key = size - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a protocol buffer: numbers as they are, the rest as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        else:
            length, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = message[at : at + length], at + length
        yield tag >> 3, value


def _shape(entry: bytes) -> tuple[int, ...]:
    """`BundleEntryProto.shape` (field 2), a TensorShapeProto: `dim` (field 2), each with a `size` (field 1)."""
    dimensions = [dim for number, shape in _fields(entry) if number == 2 for field, dim in _fields(shape) if field == 2]
    return tuple(next((size for number, size in _fields(dim) if number == 1), 0) for dim in dimensions)


def read_shapes(index: bytes) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor by its key, as `tf.train.load_checkpoint(...).get_variable_to_shape_map()` gives them.

    Raises:
      NotAnIndexError: `index` is not the content of a checkpoint's index file, or not all of it.
    """
    if len(index) < FOOTER or int.from_bytes(index[-8:], "little") != MAGIC:
        raise NotAnIndexError("it does not end as an index does")
    footer = index[-FOOTER:]
    try:
        _, at = _varint(footer, 0)
        _, at = _varint(footer, at)
        blocks = [handle for _, handle in _block(index, footer[at:])]
        entries = [entry for handle in blocks for entry in _block(index, handle)]
        return {key.decode(): _shape(value) for key, value in entries if key}  # the empty key's value is a header
    except (IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise NotAnIndexError(f"it is damaged ({error})") from error
