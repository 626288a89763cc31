"""What is published of the networks: accuracy in percent, and the views whose mean prediction it is of. Nothing measured here."""

from typing import NamedTuple

GARDEN = "https://github.com/tensorflow/models/tree/master/official/projects/movinet"
TORCHVISION = "https://docs.pytorch.org/vision/stable/models.html#video-classification"


class Published(NamedTuple):
    """Top-1 on Kinetics-400 and Kinetics-600, None where it is not published; views of a video: clips x crops."""

    title: str
    kinetics400: float | None
    kinetics600: float | None
    views: int
    source: str


PUBLISHED = {
    "a0": Published("MoViNet-A0", 69.40, 72.28, 1, GARDEN),
    "a0_stream": Published("MoViNet-A0 stream", None, 72.05, 1, GARDEN),
    "a2": Published("MoViNet-A2", 75.91, 78.62, 1, GARDEN),
    "x3d_s": Published(
        "X3D-S", 73.33, None, 30, "https://github.com/facebookresearch/pytorchvideo/blob/main/docs/source/model_zoo.md"
    ),
    "r2plus1d_18": Published("R(2+1)D-18", 67.463, None, 5, TORCHVISION),
    "s3d": Published("S3D", 68.368, None, 1, TORCHVISION),
    "mvit_v2_s": Published("MViT v2 S", 80.757, None, 5, TORCHVISION),
    "videomae": Published("VideoMAE-base", 81.5, None, 15, "https://github.com/MCG-NJU/VideoMAE/blob/main/MODEL_ZOO.md"),
    "a0_tutorial": Published("MoViNet-A0, the tutorial's way", 69.40, 72.28, 1, GARDEN),
}
