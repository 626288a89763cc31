"""Unpacks and packs TensorFlow Lite files, with the Python classes that are generated from their schema."""

import flatbuffers
import numpy as np

_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # bytes; the schema requires it for buffers


class _Builder(flatbuffers.Builder):
    """Aligns byte arrays, which the generated Python code does not."""

    def CreateNumpyVector(self, x):  # noqa: N802
        if x.dtype != np.uint8:
            return super().CreateNumpyVector(x)
        self.StartVector(1, x.size, _ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        return self.EndVector()


def unpack(model: bytes):
    """Converts a file's content to the schema's `ModelT`."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(model)


def pack(content) -> bytes:
    """Converts a `ModelT` to a file's content."""
    builder = _Builder(1 << 20)
    builder.Finish(content.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def text(name: bytes | str) -> str:
    """A name as a string; the schema's classes return bytes."""
    return name.decode() if isinstance(name, bytes) else name
