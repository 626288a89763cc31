"""Writes results/clips: film strips of test clips and of suspect labels, and explanations of the surest mistakes.

Invariants: equal inputs give equal files; the strips take at most STRIP_BYTES, however many classes and clips there are; the most
important ones come first.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.artifacts import (
    ClassifierDescription,
    EmbedSummary,
    FramesSummary,
    Mistake,
    Neighbour,
    RunningPrediction,
    ShownClips,
    Strip,
    is_cached,
)
from pipeline.console import UserError, progress
from pipeline.evaluation.classifier import clip_features
from pipeline.evaluation.predictions import MISTAKES, Predictions, surest_mistakes
from pipeline.explanation.occlusion import occlude
from pipeline.explanation.records import Record, Records
from pipeline.explanation.selection import STRIP_BYTES, SUSPECTS, clips_by_cell, in_turns, nearest
from pipeline.explanation.strips import FRAMES_PER_FILE, GAP, make_strip, time_segments
from pipeline.files import atomic_folder
from pipeline.models.family import Stream, open_probabilities, open_stream, settings_of
from pipeline.settings import EngineName
from pipeline.video.sampling import Sampling

NEIGHBOURS = 3


class _Inputs(NamedTuple):
    """A classifier and its inputs. files: of frames, embeddings and classifier."""

    frames: Path
    embeddings: Path
    classifier: Path
    description: ClassifierDescription

    @property
    def sampling(self) -> Sampling:
        return Sampling.of(self.description)


def write_clips(
    folder: Path,
    test: Predictions,
    suspects: pd.DataFrame,
    *,
    frames: Path,
    embeddings: Path,
    classifier: Path,
    occlusion_clips: int,
    batch: int,
    engine: EngineName,
) -> ShownClips:
    """Writes `folder` atomically: clips.json and the JPEGs that it names.

    Args:
      test: the predictions of the test clips.
      suspects: the table of suspects.csv, the most suspect first; empty without cached features.
      occlusion_clips: number of mistakes to explain by occlusion, the surest first.
      batch: views that are computed at a time.
      engine: see `open_network`.
    """
    known = _Inputs(frames, embeddings, classifier, ClassifierDescription.of(classifier))
    summary = FramesSummary.of(frames)
    records = Records(summary.files(frames, "test"), test.clips.tolist())
    wrong = surest_mistakes(test)[:MISTAKES]
    mistakes, no_neighbours = _find_neighbours(known, test, wrong)
    mistakes, no_occlusion, no_running = _explain(known, records, test, mistakes, occlusion_clips, batch, engine)
    with atomic_folder(folder) as part:
        strips = _write_strips(part, known, summary, records, test, wrong, mistakes, suspects.head(SUSPECTS))
        content = ShownClips(
            strips=strips,
            mistakes=mistakes,
            no_neighbours=no_neighbours,
            no_occlusion=no_occlusion,
            no_running=no_running,
        )
        content.write(part / "clips.json")
    return content


def _find_neighbours(known: _Inputs, test: Predictions, wrong: np.ndarray) -> tuple[list[Mistake], str]:
    """The mistakes with their nearest training clips, and the reason if there are none, else an empty string."""
    clips = test.clips[wrong].tolist()
    if not is_cached(known.embeddings):
        reason = f"{EmbedSummary.of(known.embeddings).reason}, without finetune.start=probe"
        return [Mistake(clip=clip) for clip in clips], f"there are no cached features to compare clips by: {reason}"
    train, own = (clip_features(known.embeddings, split, known.description) for split in ("train", "test"))
    names, rows = (_clip_names(known.embeddings, split) for split in ("train", "test"))
    row_of = {clip: row for row, clip in enumerate(rows)}
    chosen, similarities = nearest(own.features[[row_of[clip] for clip in clips]], train.features, NEIGHBOURS)
    return [
        Mistake(
            clip=clip,
            neighbours=[
                Neighbour(clip=names[row], class_name=known.description.classes[train.labels[row]], similarity=float(similarity))
                for row, similarity in zip(chosen[number], similarities[number], strict=True)
            ],
        )
        for number, clip in enumerate(clips)
    ], ""


def _clip_names(embeddings: Path, split: str) -> list[str]:
    return pd.read_csv(embeddings / f"{split}.csv", dtype=str, keep_default_na=False)["clip"].tolist()


def _explain(
    known: _Inputs,
    records: Records,
    test: Predictions,
    mistakes: list[Mistake],
    count: int,
    batch: int,
    engine: EngineName,
) -> tuple[list[Mistake], str, str]:
    """Explains the first `count` mistakes. Also returns why occlusion and running predictions are missing, if so."""
    if count == 0:
        reason = "evaluate.occlusion_clips is 0"
        return mistakes, reason, reason
    if not mistakes:
        return mistakes, "", ""
    from pipeline.explanation.running import run_clip  # imports TensorFlow, which a report without mistakes does not need
    from pipeline.training.runtime import enable_determinism

    enable_determinism()
    network = open_probabilities(known.classifier, known.description, engine)
    stream, no_running = _open_stream(known)
    row_of = {clip: row for row, clip in enumerate(test.clips.tolist())}
    explained = []
    for mistake in progress(mistakes[:count], describe="covering parts of clips", unit="clip"):
        row, record = row_of[mistake.clip], records.read(mistake.clip)
        label, predicted = int(test.labels[row]), int(test.predicted[row])
        views, indices = _views(known, record)
        segments = time_segments(known.sampling, len(record.jpegs), known.description.views)
        occlusion = occlude(network, views, indices, segments, predicted, batch)
        running: RunningPrediction | None = None
        if stream is not None:
            running = run_clip(stream, record.serialized, record.seconds, label, predicted)
        explained.append(mistake.model_copy(update={"occlusion": occlusion, "running": running}))
    return explained + mistakes[count:], "", no_running


def _open_stream(known: _Inputs) -> tuple[Stream | None, str]:
    settings = settings_of(known.description)
    if not settings.streams:
        return None, f"{known.description.model} takes whole clips; frame by frame {settings.streaming_advice}"
    try:
        return open_stream(known.classifier, known.description), ""
    except UserError as error:
        return None, str(error)


def _views(known: _Inputs, record: Record) -> tuple[np.ndarray, np.ndarray]:
    """The views of evaluation, float32 (V, T, S, S, 3), and the frames that they consist of, int (V, T)."""
    import tensorflow as tf

    from pipeline.video.dataset import centred_views
    from pipeline.video.parsing import parse_clip_header

    sampling, views = known.sampling, known.description.views
    indices = sampling.indices(len(record.jpegs), views)
    pixels = centred_views(parse_clip_header(tf.constant(record.serialized)), views, sampling).numpy()
    return pixels[:, : indices.shape[1]], indices  # without padding


def _write_strips(
    folder: Path,
    known: _Inputs,
    summary: FramesSummary,
    records: Records,
    test: Predictions,
    wrong: np.ndarray,
    mistakes: list[Mistake],
    suspects: pd.DataFrame,
) -> list[Strip]:
    """Writes the strips of mistakes, of their neighbours, of suspects and of the confusion matrix's cells, as far as they fit."""
    classes = known.description.classes
    class_of = {("test", clip): classes[label] for clip, label in zip(test.clips.tolist(), test.labels.tolist(), strict=True)}
    wanted = [("test", test.clips[row]) for row in wrong]
    source = {"test": records}
    others = [("train", one.clip, one.class_name) for mistake in mistakes for one in mistake.neighbours]
    others += [(row.split, row.clip, row.given) for row in suspects.itertuples()]
    for split in {split for split, _, _ in others} - {"test"}:
        source[split] = Records(summary.files(known.frames, split), _clip_names(known.embeddings, split))
    class_of |= {(split, clip): class_name for split, clip, class_name in others}
    wanted += [(split, clip) for split, clip, _ in others]
    wanted += [("test", test.clips[row]) for row in in_turns(clips_by_cell(test))]
    strips, left = [], STRIP_BYTES
    for number, (split, clip) in enumerate(progress(list(dict.fromkeys(wanted)), describe="film strips", unit="clip")):
        record = source[split].read(clip)
        pictures = make_strip(record, time_segments(known.sampling, len(record.jpegs), known.description.views), clip)
        left -= pictures.bytes
        if left < 0:
            break
        files = [f"{number:04d}-{part}.jpg" for part in range(len(pictures.jpegs))]
        for name, jpeg in zip(files, pictures.jpegs, strict=True):
            (folder / name).write_bytes(jpeg)
        strips.append(
            Strip(
                clip=clip,
                split=split,
                class_name=class_of[split, clip],
                files=files,
                frames_per_file=FRAMES_PER_FILE,
                width=pictures.width,
                height=pictures.height,
                gap=GAP,
                seconds=pictures.seconds,
            )
        )
    return strips
