"""Copies checkpoints with other values, and counts their parameters, without TensorFlow and without building the model."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.checksums import masked_crc32c
from pipeline.models.movinet.network.weights.bundle import (
    FLOAT32,
    TRAILER,
    VALUE,
    block_entries,
    block_handles,
    block_span,
    read_index,
    read_shapes,
)

STATISTICS = ("moving_mean", "moving_variance")  # of batch norm: not trained by gradients, and folded into kernels in serving


def count_parameters(prefix: Path) -> int:
    """The number of weights in a checkpoint of the published layout, without the moving statistics of batch norm."""
    shapes = read_shapes(Path(f"{prefix}.index").read_bytes())
    kept = [key for key in shapes if key.endswith(VALUE) and key.removesuffix(VALUE).rsplit("/", 1)[-1] not in STATISTICS]
    return sum(math.prod(shapes[key]) for key in kept if not key.startswith(("save_counter", "_CHECKPOINTABLE")))


def write_checkpoint_state(prefix: Path) -> None:
    """Writes the file `checkpoint` that names the checkpoint at `prefix` as the latest one of its folder."""
    line = f'model_checkpoint_path: "{prefix.name}"\nall_model_checkpoint_paths: "{prefix.name}"\n'
    (prefix.parent / "checkpoint").write_text(line)


def replace_values(prefix: Path, target: Path, values: Mapping[str, np.ndarray]) -> None:
    """Copies a checkpoint with some values replaced. What is replaced is overwritten in the copy, and so are its checksums.

    Args:
      prefix: the checkpoint to copy.
      target: prefix of the copy. A `checkpoint` file is written next to it.
      values: new float32 values by checkpoint key, of the same shapes.

    Raises:
      KeyError: the checkpoint has no such key.
      ValueError: a value has another type or shape.
    """
    content = Path(f"{prefix}.index").read_bytes()
    index, patched = read_index(content), bytearray(content)
    unknown = sorted(set(values) - set(index.tensors))
    if unknown:
        raise KeyError(f"{prefix} has no {', '.join(unknown)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    for source, copy in zip(index.data_files(prefix.name), index.data_files(target.name), strict=True):
        shutil.copyfile(prefix.parent / source, target.parent / copy)
    checksums = {}
    for key, value in values.items():
        tensor = index.tensors[key]
        if tensor.dtype != FLOAT32 or value.dtype != np.float32 or value.shape != tensor.shape:
            raise ValueError(f"{key}: expected float32 {tensor.shape}, got {value.dtype} {value.shape}")
        written = value.astype("<f4").tobytes()
        with open(target.parent / index.data_files(target.name)[tensor.shard], "r+b") as file:
            file.seek(tensor.offset)
            if file.read(tensor.size) == written:
                continue
            file.seek(tensor.offset)
            file.write(written)
        checksums[key.encode()] = masked_crc32c(written).to_bytes(4, "little")
    for handle in block_handles(content):
        for key, value in block_entries(content, handle):
            if key in checksums:
                # crc32c (field 6) is the last field of a BundleEntryProto that was written for a whole tensor.
                if index.tensors[key.decode()].crc32c != int.from_bytes(content[value.stop - 4 : value.stop], "little"):
                    raise ValueError(f"{prefix}: the entry of {key.decode()} does not end with its checksum")
                patched[value.stop - 4 : value.stop] = checksums[key]
        start, end = block_span(handle)
        patched[end + 1 : end + TRAILER] = masked_crc32c(bytes(patched[start : end + 1])).to_bytes(4, "little")
    Path(f"{target}.index").write_bytes(patched)
    write_checkpoint_state(target)
