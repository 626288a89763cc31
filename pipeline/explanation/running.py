"""The prediction of a stream network after each frame of a clip."""

import numpy as np
import tensorflow as tf
from scipy.special import softmax

from pipeline.artifacts import RunningPrediction
from pipeline.models.family import Stream
from pipeline.video.parsing import decode_frames, parse_clip_header
from pipeline.video.views import centre_square

CLASSES = 4  # that are shown
MAX_FRAMES = 300  # of a long clip the first ones


def run_clip(stream: Stream, serialized: bytes, seconds: list[float], label: int, predicted: int) -> RunningPrediction:
    """Runs the stream over the clip's first MAX_FRAMES frames; `seconds` are their times.

    The classes are the actual one, the predicted one, and those others that are most probable on average.
    """
    clip = parse_clip_header(tf.constant(serialized))
    count = min(len(seconds), MAX_FRAMES)
    frames = centre_square(decode_frames(clip["encoded"], tf.range(count)), stream.size)
    states, rows = stream.init_states(), []
    for number in range(count):
        logits, states = stream.call(frames[tf.newaxis, number : number + 1], states)
        rows.append(softmax(logits.numpy()[0].astype(np.float64)))
    probabilities = np.stack(rows)
    shown = choose_classes(probabilities, label, predicted)
    return RunningPrediction(
        classes=[stream.classes[number] for number in shown],
        seconds=seconds[:count],
        probabilities=probabilities[:, shown].round(4).tolist(),
        frames=len(seconds),
    )


def choose_classes(probabilities: np.ndarray, label: int, predicted: int) -> list[int]:
    """At most CLASSES classes of (T, C): the predicted and the actual one, then by their mean probability."""
    others = np.argsort(-probabilities.mean(axis=0), kind="stable").tolist()
    return list(dict.fromkeys([predicted, label, *others]))[:CLASSES]
