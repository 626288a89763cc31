"""Decodes protocol buffer messages without their schema, for what is read where TensorFlow is not imported.

The encoding: https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Decodes the number at offset `at`; returns it and the offset after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields the field numbers and values of a message; varints as int, all others as bytes."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(message, at)
        else:
            length, at = varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = message[at : at + length], at + length
        yield tag >> 3, value
