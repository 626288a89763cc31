"""Published times of a frame, to stand beside measured ones; none of them was measured by this project.

Source: "TF Lite Streaming Models" in the README of the Model Garden's MoViNet project (tensorflow/models,
official/projects/movinet/README.md, commit 09d9656f): "Single-frame latency measured on with unaltered float32 operations on a
single CPU core", on a stock Pixel 4 (Android 11) and an Intel Xeon W-2135.
"""

from typing import NamedTuple

SOURCE = "https://github.com/tensorflow/models/tree/master/official/projects/movinet#tf-lite-streaming-models"
DEVICES = {"pixel4": "Pixel 4", "x86": "Xeon W-2135"}


class Published(NamedTuple):
    """Milliseconds of a frame in float32 on one core, at `size` pixels; None where nothing is published."""

    size: int
    pixel4: int | None
    x86: int


PUBLISHED = {
    "a0_stream": Published(172, 22, 16),
    "a1_stream": Published(172, 42, 33),
    "a2_stream": Published(224, 200, 66),
    "a3_stream": Published(256, None, 120),
    "a4_stream": Published(290, None, 300),
    "a5_stream": Published(320, None, 450),
}
