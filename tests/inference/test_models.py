"""Predictors: views that a network receives, and equal predictions of all formats."""

import numpy as np
import pytest

from pipeline.console import UserError
from pipeline.inference.models import MAX_VIEWS, ClipPredictor, Predictor, StreamingPredictor, UnknownRule
from pipeline.video.sampling import Sampling
from tests.inference.small import (
    CLASSES,
    COUNT,
    DECISION,
    EXPECTED_INPUT,
    FPS,
    SIZE,
    Brightness,
    logits,
    streaming,
    whole_clips,
)


def views(*levels):
    return np.stack([np.full((COUNT, SIZE, SIZE, 3), level, np.float32) for level in levels])


@pytest.mark.parametrize(
    ("options", "total", "count_and_views"),
    [
        ({"sampling": Sampling(16, SIZE), "views": 2}, 5, (16, 2)),
        ({"sampling": Sampling(16, SIZE), "views": 2}, 5000, (16, 2)),
        ({"sampling": Sampling(16, SIZE, short_clips="pad"), "views": 2}, 5, (5, 2)),
        ({}, 7, (7, 1)),
        ({}, 50, (50, 1)),
        ({}, 51, (50, 2)),
        ({}, 120, (50, 3)),
        ({}, 50_000, (50, MAX_VIEWS)),
        ({"views": 4}, 7, (7, 4)),
    ],
)
def test_views_are_the_models_or_cover_the_clip(options, total, count_and_views):
    indices = Predictor("p", CLASSES, fps=5.0, size=SIZE, **options).view_indices(total)
    assert indices.shape == count_and_views[::-1] and indices.min() >= 0 and indices.max() < total


def test_a_stream_is_reset_for_each_view_and_gives_the_prediction_after_the_last_frame():
    given = views(0.1, 0.9)
    given[1, 0] = 0.5  # so that the mean over frames matters
    found = streaming().probabilities(given)
    expected = [np.exp(logits(mean)) / np.exp(logits(mean)).sum() for mean in (0.1, (0.5 + 3 * 0.9) / 4)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_clips_prediction_is_the_mean_over_its_views_in_every_format():
    given = np.random.default_rng(1).uniform(size=(3, COUNT, SIZE, SIZE, 3)).astype(np.float32) * np.float32([[[[[0.5]]]]])
    one, other = streaming(), whole_clips(None)
    np.testing.assert_allclose(one.clip_probabilities(given), other.clip_probabilities(given), rtol=1e-4)
    np.testing.assert_allclose(other.clip_probabilities(given), other.probabilities(given).mean(axis=0), rtol=1e-6)


def test_opening_a_stream_resets_it():
    predictor = streaming()
    predictor.stream().step(np.zeros((SIZE, SIZE, 3), np.float32))
    assert predictor.stream().frames == 0


def test_a_wrong_number_of_class_names_is_an_error():
    predictor = StreamingPredictor(Brightness(), "brightness.tflite", CLASSES[:2], **EXPECTED_INPUT)
    with pytest.raises(UserError, match=r"brightness.tflite: has 3 outputs, but there are 2 class names"):
        predictor.clip_probabilities(views(0.1))


@pytest.mark.parametrize(
    ("probabilities", "background", "expected"),
    [
        ([0.1, 0.3, 0.6], None, ("Bright", 0.6, False)),
        ([0.1, 0.31, 0.59], None, ("Bright", 0.59, True)),
        ([0.1, 0.3, 0.6], "Bright", ("Grey, middling", 0.3, True)),
        ([0.1, 0.65, 0.25], "Bright", ("Grey, middling", 0.65, False)),
        ([0.1, 0.5, 0.4], "Bright", ("Grey, middling", 0.5, True)),
    ],
)
def test_an_answer_is_unknown_below_the_threshold_and_for_the_background(probabilities, background, expected):
    decision = DECISION.model_copy(update={"background": background})
    predictor = Predictor("brightness", CLASSES, fps=FPS, size=SIZE, decision=decision)
    assert predictor.rule == UnknownRule(0.6, background)
    name, probability, unknown = expected
    assert predictor.answer(np.array(probabilities)) == (name, pytest.approx(probability), unknown)
    predictor.rule = None
    assert predictor.answer(np.array(probabilities)) is None


def test_outputs_that_are_not_numbers_are_an_error():
    """As those of a network whose training diverged."""
    broken = ClipPredictor(lambda given: np.full((len(given), 3), np.nan, np.float32), None, "broken", CLASSES, **EXPECTED_INPUT)
    with pytest.raises(UserError, match=r"broken: its outputs are not finite numbers; its weights are damaged or"):
        broken.clip_probabilities(views(0.1))
