"""TensorFlow Lite files taken apart and put together again, through the classes that their schema generates."""

import flatbuffers
import numpy as np

_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # of buffers in a file, as its schema demands


class _Builder(flatbuffers.Builder):
    """Aligns every array, which the generated Python code forgets."""

    def CreateNumpyVector(self, x):  # noqa: N802
        if x.dtype != np.uint8:
            return super().CreateNumpyVector(x)
        self.StartVector(1, x.size, _ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        return self.EndVector()


def unpack(model: bytes):
    """The file's content as a `ModelT` of the schema."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(model)


def pack(content) -> bytes:
    """The file of a `ModelT`."""
    builder = _Builder(1 << 20)
    builder.Finish(content.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def text(name: bytes | str) -> str:
    """A name as the schema's classes give it."""
    return name.decode() if isinstance(name, bytes) else name
