"""The table of MoViNet variants: frame rate and resolution of pretraining, arguments to build them, and published accuracy.

Sources: Kondratyuk et al. 2021, "MoViNets: Mobile Video Networks for Efficient Video Recognition", and the results tables of
the Model Garden's MoViNet project (Kinetics-600, single clip). Does not import TensorFlow.
"""

from dataclasses import dataclass

PUBLISHED_ROOT = "https://storage.googleapis.com/tf_model_garden/vision/movinet"
# Bytes and SHA-256 of tarballs there, downloaded in April 2026. Those of the others are unknown: the bucket now refuses access.
PUBLISHED_FILES = {
    "movinet_a1_base.tar.gz": (18_995_200, "4c80bd477321d2483279358049191e151cb071a762efbe4efc9afa953e29920f"),
    "movinet_a2_base.tar.gz": (21_258_240, "478f2ac53744ec81309c37c8ed9fae627dccb382bab181569d7943fe81ca775e"),
    "movinet_a3_base.tar.gz": (29_941_760, "1cd1a8c00e9692a982619a12df68c1b30f95af970258b1c63f477f1dc1f02b0c"),
    "movinet_a2_stream.tar.gz": (29_624_320, "611af11e3d32c254477206165b8fdd5735fd94bea23bb5362ca9906909b08449"),
}
KINETICS_CLASSES = 600
BASE_IDS = ("a0", "a1", "a2", "a3", "a4", "a5")
MODEL_IDS = (*BASE_IDS, *(f"{name}_stream" for name in BASE_IDS), "a0_stream_relu6")
HEAD_FILTERS = 2048  # width of the head's first layer in every variant


@dataclass(frozen=True)
class Variant:
    """One network.

    Attributes:
      id: the value of `model.id`.
      family: the Model Garden's model id, a0 to a5.
      stream: whether it is causal, so that it can run frame by frame.
      fps: frames per second of its training clips.
      resolution: side of its training frames in pixels.
      frames: number of frames of its evaluation clips, which last 10 s.
      features: channels of the backbone's pooled output.
      dropout: published rate before the last layer.
      builder: arguments of `movinet.Movinet`, besides `model_id`.
      activation: of the head's first layer.
      top1, top5: published accuracy on Kinetics-600 in percent; None where nothing is published.
      checkpoint: file name of the published tarball; None where none is published.
      kaggle: handle with version of the same weights on Kaggle Models, a SavedModel; None where none is published.
    """

    id: str
    family: str
    stream: bool
    fps: int
    resolution: int
    frames: int
    features: int
    dropout: float
    builder: dict
    activation: str
    top1: float | None
    top5: float | None
    checkpoint: str | None
    kaggle: str | None


#            fps  side frames features
_FAMILIES = {
    "a0": (5, 172, 50, 480),
    "a1": (5, 172, 50, 600),
    "a2": (5, 224, 50, 640),
    "a3": (12, 256, 120, 744),
    "a4": (8, 290, 80, 856),
    "a5": (12, 320, 120, 992),
}
_BASE_ACCURACY = {
    "a0": (72.28, 90.92),
    "a1": (76.69, 93.40),
    "a2": (78.62, 94.17),
    "a3": (81.79, 95.67),
    "a4": (83.48, 96.16),
    "a5": (84.27, 96.39),
}
_STREAM_ACCURACY = {
    "a0": (72.05, 90.63),
    "a1": (76.45, 93.25),
    "a2": (78.40, 94.05),
    "a3": (80.09, 94.84),
    "a4": (81.49, 95.66),
    "a5": (82.37, 95.79),
}


def _base(family: str) -> Variant:
    fps, resolution, frames, features = _FAMILIES[family]
    return Variant(
        id=family,
        family=family,
        stream=False,
        fps=fps,
        resolution=resolution,
        frames=frames,
        features=features,
        dropout=0.5,
        builder={"causal": False, "conv_type": "3d", "se_type": "3d", "activation": "swish", "gating_activation": "sigmoid"},
        activation="swish",
        top1=_BASE_ACCURACY[family][0],
        top5=_BASE_ACCURACY[family][1],
        checkpoint=f"movinet_{family}_base.tar.gz",
        kaggle=f"google/movinet/tensorFlow2/{family}-base-kinetics-600-classification/3",
    )


def _stream(family: str) -> Variant:
    fps, resolution, frames, features = _FAMILIES[family]
    return Variant(
        id=f"{family}_stream",
        family=family,
        stream=True,
        fps=fps,
        resolution=resolution,
        frames=frames,
        features=features,
        dropout=0.2 if family in ("a0", "a1") else 0.5,
        builder={
            "causal": True,
            "conv_type": "2plus1d",
            "se_type": "2plus3d",
            "activation": "hard_swish",
            "gating_activation": "hard_sigmoid",
            # The published stream weights of A3 to A5 have a positional encoding; those of A0 to A2 do not.
            "use_positional_encoding": family in ("a3", "a4", "a5"),
        },
        # Only the backbone of published stream networks has hard swish: the Model Garden's training configs and export leave the
        # head's activation at its default (movinet_a*_stream_k600_8x8.yaml, `MovinetModel.activation`).
        activation="swish",
        top1=_STREAM_ACCURACY[family][0],
        top5=_STREAM_ACCURACY[family][1],
        checkpoint=f"movinet_{family}_stream.tar.gz",
        kaggle=f"google/movinet/tensorFlow2/{family}-stream-kinetics-600-classification/2",
    )


# The network of the published int8 A0, without squeeze-and-excitation and with bounded activations. Its float weights are not
# published.
_A0_STREAM_RELU6 = Variant(
    id="a0_stream_relu6",
    family="a0",
    stream=True,
    fps=5,
    resolution=172,
    frames=50,
    features=480,
    dropout=0.2,
    builder={
        "causal": True,
        "conv_type": "2plus1d",
        "se_type": "none",
        "activation": "relu6",
        "gating_activation": "hard_sigmoid",
        "use_positional_encoding": False,
    },
    activation="relu6",
    top1=None,
    top5=None,
    checkpoint=None,
    kaggle=None,
)

VARIANTS: dict[str, Variant] = {
    variant.id: variant for variant in (*map(_base, _FAMILIES), *map(_stream, _FAMILIES), _A0_STREAM_RELU6)
}
