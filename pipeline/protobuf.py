"""Decodes and encodes protocol buffer messages without their schema, for files of TensorFlow where it is not imported.

The encoding: https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator, Sequence


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


def encode_varint(value: int) -> bytes:
    """Encodes a number that is not negative."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_field(number: int, parts: Sequence[bytes]) -> list[bytes]:
    """The parts of a field that holds a message, a string or packed numbers; whoever writes them joins them once."""
    return [encode_varint(number << 3 | 2) + encode_varint(sum(map(len, parts))), *parts]
