"""Writes a synthetic results/clips, as evaluate would, for results of `write_results`."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.artifacts import Mistake, Neighbour, Occlusion, RunningPrediction, ShownClips, Strip
from pipeline.evaluation.predictions import MISTAKES, read_predictions, surest_mistakes
from pipeline.evaluation.suspects import read_suspects
from pipeline.explanation.selection import STRIP_BYTES, SUSPECTS, clips_by_cell, in_turns

OCCLUSION = Occlusion(
    probability=0.9,
    space=[[0, 0, 0, 0], [0, 0, 0, 0.5], [0, -0.25, 0, 0], [0, 0, 0, 0]],
    time=[0, 0, 0, 0, 0, 0.1, 0, 0],
)


def photograph(number: int, width: int) -> bytes:
    """A JPEG of noise, of about the size of four frames of a real clip (7 kB)."""
    noise = np.random.default_rng(number).integers(0, 256, (27, width // 3, 3)).astype(np.uint8)
    image = cv2.resize(noise, (width, 80), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1].tobytes()


def write_shown_clips(results: Path, *, explained: int = 2) -> ShownClips:
    """Strips of as many clips as have room, and explanations of the first `explained` mistakes."""
    test = read_predictions(results / "predictions.csv").of("test")
    folder = results / "clips"
    folder.mkdir()
    wrong = surest_mistakes(test)[:MISTAKES]
    names = [test.classes[label] for label in test.labels]
    mistakes, wanted = [], [("test", test.clips[row], names[row]) for row in wrong]
    for number, row in enumerate(wrong):
        predicted, actual = test.classes[test.predicted[row]], names[row]
        neighbours = [
            Neighbour(clip=f"train/{number}-{other}.avi", class_name=name, similarity=0.9 - other / 10)
            for other, name in enumerate((predicted, actual, predicted))
        ]
        wanted += [("train", one.clip, one.class_name) for one in neighbours]
        running = RunningPrediction(
            classes=list(dict.fromkeys((predicted, actual))),
            seconds=[0, 0.2, 0.4, 0.6],
            probabilities=[[0.1, 0.9], [0.2, 0.8], [0.6, 0.4], [0.75, 0.25]],
            frames=4,
        )
        depends = {"occlusion": OCCLUSION, "running": running} if number < explained else {}
        mistakes.append(Mistake(clip=test.clips[row], neighbours=neighbours, **depends))
    wanted += [(row.split, row.clip, row.given) for row in read_suspects(results / "suspects.csv").head(SUSPECTS).itertuples()]
    wanted += [("test", test.clips[row], names[row]) for row in in_turns(clips_by_cell(test))]
    strips, left = [], STRIP_BYTES
    for number, (split, clip, class_name) in enumerate(dict.fromkeys(wanted)):
        jpegs = [photograph(2 * number + part, 4 * 107 + 6) for part in range(2)]
        left -= sum(map(len, jpegs))
        if left < 0:
            break
        files = [f"{number:04d}-{part}.jpg" for part in range(2)]
        for name, jpeg in zip(files, jpegs, strict=True):
            (folder / name).write_bytes(jpeg)
        seconds = [round(0.2 + 0.4 * frame, 1) for frame in range(8)]
        size = {"frames_per_file": 4, "width": 107, "height": 80, "gap": 2}
        strips.append(Strip(clip=clip, split=split, class_name=class_name, files=files, seconds=seconds, **size))
    content = ShownClips(strips=strips, mistakes=mistakes)
    content.write(folder / "clips.json")
    return content
