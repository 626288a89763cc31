"""Reads TensorFlow checkpoints without TensorFlow, whose import takes as long as all checks together.

`<prefix>.index` is a LevelDB table, which TensorFlow writes uncompressed. It maps tensor keys to `BundleEntryProto` messages
(tensorflow/core/lib/io/table_format.txt, tensorflow/core/protobuf/tensor_bundle.proto). The tensor
`_CHECKPOINTABLE_OBJECT_GRAPH` is a serialized `TrackableObjectGraph` (trackable_object_graph.proto), which contains the name that
each variable had in the program that saved it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.checksums import masked_crc32c
from pipeline.console import UserError
from pipeline.protobuf import fields as _fields
from pipeline.protobuf import varint as _varint

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"  # the suffix of the keys of variables
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
MAGIC = 0xDB4775248B80FB57  # the last 8 bytes of a table
FOOTER = 48  # bytes
FLOAT32 = 1  # a value of `Tensor.dtype`
TRAILER = 5  # bytes after a block: compression type and checksum


class NotAnIndexError(ValueError):
    """The content is not the index of a checkpoint, or it is damaged. The message starts with "it"."""


@dataclass(frozen=True)
class Tensor:
    """An entry of the index.

    Attributes:
      dtype: number of a `tf.DType` (`as_datatype_enum`).
      shard, offset, size: the value is `size` bytes at `offset` of data file number `shard`.
      crc32c: masked CRC32C of the value.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int


@dataclass(frozen=True)
class Index:
    """The tensors of a checkpoint by key, and the number of its data files."""

    tensors: dict[str, Tensor]
    shards: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: tensor.shape for key, tensor in self.tensors.items()}

    def data_files(self, stem: str) -> list[str]:
        """The names of the data files, if `stem` is the last part of the checkpoint's prefix."""
        return [f"{stem}.data-{shard:05}-of-{self.shards:05}" for shard in range(self.shards)]


def block_span(handle: bytes) -> tuple[int, int]:
    """The offsets of a block's start and end. handle: its encoded offset and size."""
    offset, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    return offset, offset + size


def block_entries(data: bytes, handle: bytes) -> Iterator[tuple[bytes, slice]]:
    """Yields the keys of a block, and where their values are in `data`. handle: the block's."""
    offset, end = block_span(handle)
    if end + TRAILER > len(data):
        raise NotAnIndexError("it is cut short")
    if data[end] != 0:
        raise NotAnIndexError("it is compressed, which TensorFlow's are not")
    if masked_crc32c(data[offset : end + 1]) != int.from_bytes(data[end + 1 : end + TRAILER], "little"):
        raise NotAnIndexError("it is damaged (a block's checksum does not match)")
    block = data[offset:end]
    restarts = int.from_bytes(block[-4:], "little")
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)  # keys are prefix-compressed
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, slice(offset + at, offset + at + length)
        at += length


def _shape(message: bytes) -> tuple[int, ...]:
    """Decodes a `TensorShapeProto`: `dim` (field 2), each with a `size` (field 1)."""
    dimensions = [dim for number, dim in _fields(message) if number == 2]
    return tuple(next((size for number, size in _fields(dim) if number == 1), 0) for dim in dimensions)


def _tensor(entry: bytes) -> Tensor:
    """Decodes a `BundleEntryProto`: dtype 1, shape 2, shard_id 3, offset 4, size 5, crc32c 6. Zeros are not encoded."""
    fields = dict(_fields(entry))
    crc = int.from_bytes(fields.get(6, b""), "little")
    return Tensor(fields.get(1, 0), _shape(fields.get(2, b"")), fields.get(3, 0), fields.get(4, 0), fields.get(5, 0), crc)


def block_handles(content: bytes) -> list[bytes]:
    """The handles of an index's blocks of entries."""
    footer = content[-FOOTER:]
    _, at = _varint(footer, 0)
    _, at = _varint(footer, at)
    return [content[handle] for _, handle in block_entries(content, footer[at:])]


def read_index(content: bytes) -> Index:
    """Decodes the content of an index file.

    Raises:
      NotAnIndexError: the content is not that of a checkpoint's index file, or it is truncated or damaged.
    """
    if len(content) < FOOTER or int.from_bytes(content[-8:], "little") != MAGIC:
        raise NotAnIndexError("it does not end with the magic number of an index")
    try:
        entries = {key: content[value] for handle in block_handles(content) for key, value in block_entries(content, handle)}
        header = dict(_fields(entries.pop(b"", b"")))  # the empty key's value is a BundleHeaderProto: num_shards 1
        return Index({key.decode(): _tensor(value) for key, value in entries.items()}, header.get(1, 1))
    except (IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise NotAnIndexError(f"it is damaged ({error})") from error


def read_shapes(content: bytes) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors by key, equal to `tf.train.load_checkpoint(...).get_variable_to_shape_map()`.

    Raises:
      NotAnIndexError: see `read_index`.
    """
    return read_index(content).shapes


def read_names(index: Index, read: Callable[[int, int, int], bytes]) -> dict[str, str]:
    """The names that the variables had in the program that saved them, by key; empty if there is no object graph.

    Args:
      read: (shard, offset, size) -> `size` bytes at `offset` of data file number `shard`.

    Raises:
      NotAnIndexError: the object graph is damaged, or the data file is shorter than the index says.
    """
    tensor = index.tensors.get(OBJECT_GRAPH)
    if tensor is None:
        return {}
    content = read(tensor.shard, tensor.offset, tensor.size)
    try:
        # The encoding of a string tensor with one element: length, checksum of the length, string.
        length, at = _varint(content, 0)
        graph = content[at + 4 :]
        if len(content) != tensor.size or len(graph) != length:
            raise NotAnIndexError("the data file is cut short")
        names = {}
        for number, node in _fields(graph):  # TrackableObjectGraph.nodes 1
            attributes = [value for field, value in _fields(node) if field == 2] if number == 1 else []
            for attribute in attributes:  # SerializedTensor: full_name 2, checkpoint_key 3
                fields = dict(_fields(attribute))
                if fields.get(2) and fields.get(3):
                    names[fields[3].decode()] = fields[2].decode()
        return names
    except (IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise NotAnIndexError(f"its object graph is damaged ({error})") from error


def read_values(prefix: Path, keys: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The float32 values at the keys of a checkpoint, by the names that `keys` gives them.

    Raises:
      KeyError: the checkpoint has no such key.
      UserError: a value is damaged.
    """
    index = read_index(Path(f"{prefix}.index").read_bytes())
    maps = [np.memmap(prefix.parent / name, np.uint8, "r") for name in index.data_files(prefix.name)]
    values = {}
    for name, key in keys.items():
        tensor = index.tensors[key]
        content = maps[tensor.shard][tensor.offset : tensor.offset + tensor.size].tobytes()
        if masked_crc32c(content) != tensor.crc32c:
            message = f"{prefix}: damaged (the checksum of {name.removesuffix(VALUE)} does not match)"
            raise UserError(message, advice="fetch the weights again, or `dvc repro` for a classifier of this pipeline")
        values[name] = np.frombuffer(content, "<f4").reshape(tensor.shape)
    return values
