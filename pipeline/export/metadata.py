"""Adds labels and a description to a TensorFlow Lite file, following the TensorFlow Lite metadata standard.

The metadata are a table in a buffer named TFLITE_METADATA, and the files that the table refers to, in a zip archive appended to
the model. Android's Task Library and Netron read both. `labels.txt` contains the names of the classes, one per line;
`movinet.json` contains what else is needed to run the network. https://ai.google.dev/edge/litert/models/metadata
"""

import io
import zipfile

import flatbuffers
import numpy as np

from pipeline.export.flatbuffer import pack, text, unpack
from pipeline.inference.lite import ABOUT, LiteMetadata

LABELS = "labels.txt"
_BUFFER, _IDENTIFIER = "TFLITE_METADATA", b"M001"
_TENSOR_AXIS_LABELS = 2  # AssociatedFileType in metadata_schema.fbs
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a constant time, so that equal networks give equal files


def _table(builder: flatbuffers.Builder, slots: int, values: dict[int, int], byte: tuple[int, int] | None = None) -> int:
    """A table of `slots` fields. values: offsets by field number. byte: field number and value of a byte-sized field."""
    builder.StartObject(slots)
    for slot, offset in values.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    if byte is not None:
        builder.PrependInt8Slot(*byte, 0)
    return builder.EndObject()


def _vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _model_metadata(inputs: list[str], outputs: list[str], about: LiteMetadata) -> bytes:
    """The ModelMetadata table. Field numbers are the indices of the fields in metadata_schema.fbs."""
    builder = flatbuffers.Builder(1024)

    def file(name: str, description: str, kind: int) -> int:
        return _table(builder, 5, {0: builder.CreateString(name), 1: builder.CreateString(description)}, (2, kind))

    def tensor(name: str) -> int:
        fields = {0: builder.CreateString(name)}
        if name == "logits":
            fields[6] = _vector(builder, [file(LABELS, "The classes, in the order of the logits.", _TENSOR_AXIS_LABELS)])
        return _table(builder, 7, fields)

    tensors = {2: _vector(builder, [tensor(name) for name in inputs]), 3: _vector(builder, [tensor(name) for name in outputs])}
    graphs = _vector(builder, [_table(builder, 7, tensors)])
    files = _vector(builder, [file(ABOUT, "How to run the network.", 0)])
    side = about.size
    summary = f"Streaming video classifier: frames of {side} x {side} pixels in [0, 1], one at a time, {about.fps:g} a second."
    fields = {
        0: builder.CreateString(about.model),
        1: builder.CreateString(summary),
        3: graphs,
        6: files,
        7: builder.CreateString("1.0.0"),
    }
    builder.Finish(_table(builder, 8, fields), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def add_metadata(model: bytes, about: LiteMetadata) -> bytes:
    """Returns the content of a .tflite file with `about` added."""
    from ai_edge_litert import schema_py_generated as schema

    content = unpack(model)
    graph = content.subgraphs[0]
    (signature,) = content.signatureDefs
    names = [{item.tensorIndex: text(item.name) for item in part} for part in (signature.inputs, signature.outputs)]
    inputs, outputs = (
        [by_index[index] for index in indices] for by_index, indices in zip(names, (graph.inputs, graph.outputs), strict=True)
    )
    content.metadata = [item for item in content.metadata or [] if text(item.name) != _BUFFER]
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_model_metadata(inputs, outputs, about), np.uint8)
    content.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _BUFFER, len(content.buffers) - 1
    content.metadata.append(entry)
    file = io.BytesIO()
    file.write(pack(content))
    with zipfile.ZipFile(file, "a") as archive:
        for name, lines in ((LABELS, "\n".join(about.classes) + "\n"), (ABOUT, about.model_dump_json())):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), lines)
    return file.getvalue()
