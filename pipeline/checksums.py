"""CRC32C as TensorFlow's files store it: in TFRecords, in checkpoints and in the tables of their indexes."""

import google_crc32c


def masked_crc32c(data: bytes) -> int:
    """CRC32C (Castagnoli), masked as in tensorflow/core/lib/hash/crc32c.h."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
