"""Temperature and threshold: their values on small cases worked out by hand, and what a prediction then is."""

import numpy as np
import pytest

from pipeline.evaluation.decision import (
    MARGIN,
    PRIOR,
    TEMPERATURES,
    Answers,
    choose_threshold,
    decide,
    find_answers,
    fit_temperature,
    mean_probabilities,
)
from pipeline.evaluation.log_loss import log_loss
from pipeline.settings import Unknown

COVERAGE, PRECISION = Unknown(by="coverage", level=0.75), Unknown(by="precision", level=0.75)


def drawn(count: int, scale: float, seed: int = 0, classes: int = 4, views: int = 1):
    """Logits `scale` times those by whose probabilities the labels are drawn: a temperature of `scale` makes them calibrated."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, 1, classes)).repeat(views, axis=1)
    chances = mean_probabilities(logits)
    labels = (chances.cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    return scale * logits, labels


def test_mean_probabilities_are_those_of_each_view_divided_by_the_temperature():
    logits = np.log([[[0.9, 0.1], [0.5, 0.5]], [[0.2, 0.8], [0.2, 0.8]]])
    np.testing.assert_allclose(mean_probabilities(logits), [[0.7, 0.3], [0.2, 0.8]])
    np.testing.assert_allclose(mean_probabilities(logits, 0.5)[0, 0], (0.81 / 0.82 + 0.5) / 2)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_of_the_logits(scale):
    logits, labels = drawn(20_000, scale, views=2)
    assert fit_temperature(logits, labels) == pytest.approx(scale, rel=0.03)


def test_the_temperature_minimises_log_loss_with_its_prior():
    logits, labels = drawn(60, 2.0)
    fitted = fit_temperature(logits, labels)

    def loss(temperature):
        return 60 * log_loss(mean_probabilities(logits, temperature), labels) + np.log(temperature) ** 2 / (2 * PRIOR**2)

    assert all(loss(fitted) < loss(fitted * factor) for factor in (0.1, 0.9, 0.99, 1.01, 1.1, 10))


@pytest.mark.parametrize("gap", [2.0, 8.0, 60.0])
@pytest.mark.parametrize("clips", [1, 30])
def test_a_perfect_validation_does_not_make_the_classifier_certain(gap, clips):
    """Without the prior the temperature would be at its bound."""
    logits = np.zeros((clips, 2, 3))
    logits[:, :, 0] = gap
    assert 0.4 < fit_temperature(logits, np.zeros(clips, int)) <= 1.0 + 1e-4


def test_the_temperature_of_a_classifier_that_is_always_wrong_is_bounded():
    logits = np.zeros((5000, 1, 3))
    logits[:, 0, 0] = 30
    assert fit_temperature(logits, np.ones(5000, int)) == pytest.approx(TEMPERATURES[1], rel=0.01)


def test_answers_leave_the_background_class_out():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.45, 0.15, 0.4], [0.1, 0.45, 0.45]])
    assert find_answers(probabilities).labels.tolist() == [1, 0, 1]
    answers = find_answers(probabilities, background=1)
    assert answers.labels.tolist() == [2, 0, 2]
    np.testing.assert_allclose(answers.confidences, [0.3, 0.45, 0.45])
    np.testing.assert_allclose(answers.scores, [-0.7, 0.45, -0.55])  # a tie goes to the lower label, here the background
    assert find_answers(probabilities, background=2).labels.tolist() == [1, 0, 1]
    np.testing.assert_allclose(find_answers(probabilities, background=2).scores, [0.5, 0.45, 0.45])


def given(scores, right) -> tuple[Answers, np.ndarray]:
    """Answers of class 1 with `scores`, and labels that make them right or wrong."""
    return Answers(np.ones(len(scores), int), np.array(scores)), np.where(right, 1, 0)


def test_by_coverage_it_is_the_largest_threshold_that_covers_enough():
    answers, labels = given([0.9, 0.8, 0.6, 0.5], [True, False, True, True])
    found = choose_threshold(answers, labels, COVERAGE)
    assert found == (pytest.approx(0.6 - MARGIN), 0.75, pytest.approx(2 / 3), True)
    assert choose_threshold(answers, labels, Unknown(by="coverage", level=0.76)).value == pytest.approx(0.5 - MARGIN)


def test_by_precision_it_is_the_smallest_threshold_that_is_precise_enough():
    answers, labels = given([0.9, 0.8, 0.7, 0.6, 0.5], [True, False, True, True, False])
    found = choose_threshold(answers, labels, PRECISION)
    assert found == (pytest.approx(0.6 - MARGIN), 0.8, 0.75, True)


def test_equal_confidences_are_accepted_or_refused_together():
    answers, labels = given([0.9, 0.6, 0.6, 0.6], [True] * 4)
    assert choose_threshold(answers, labels, Unknown(by="coverage", level=0.5))[:2] == (pytest.approx(0.6 - MARGIN), 1.0)


def test_a_threshold_lies_between_the_confidences_that_it_separates():
    answers, labels = given([0.9, 0.6, 0.6 - MARGIN / 2], [True, True, False])
    assert choose_threshold(answers, labels, Unknown(by="precision", level=0.99)).value == pytest.approx(0.6 - MARGIN / 4)


def test_a_background_clip_with_a_class_is_a_mistake_and_is_not_covered():
    background = 0
    answers = Answers(np.array([1, 1, 1, 2]), np.array([0.9, 0.8, 0.7, 0.2]))
    labels = np.array([1, background, 1, 2])
    found = choose_threshold(answers, labels, PRECISION, background)
    assert found == (pytest.approx(0.2 - MARGIN), 1.0, 0.75, True)
    found = choose_threshold(answers, labels, Unknown(by="coverage", level=0.6), background)
    assert found == (pytest.approx(0.7 - MARGIN), pytest.approx(2 / 3), pytest.approx(2 / 3), True)


def test_without_a_threshold_that_reaches_the_level_it_is_the_one_of_best_precision():
    answers, labels = given([0.9, 0.8, 0.7, 0.6], [False, True, True, False])
    found = choose_threshold(answers, labels, PRECISION)
    assert found == (pytest.approx(0.7 - MARGIN), 0.75, pytest.approx(2 / 3), False)


def test_clips_that_are_rather_background_never_have_a_class():
    answers, labels = Answers(np.ones(3, int), np.array([0.5, -0.6, -0.7])), np.ones(3, int)
    assert choose_threshold(answers, labels, COVERAGE, background=0) == (
        pytest.approx(0.5 - MARGIN),
        pytest.approx(1 / 3),
        1,
        False,
    )
    assert choose_threshold(Answers(labels, answers.scores - 1), labels, COVERAGE, background=0) == (0, 0, 0, False)


def options(**more) -> dict:
    return {"calibrate": True, "background": None, "classes": ["a", "b", "c", "d"], "clip_seconds": 2.5} | more


def test_the_decision_states_what_was_chosen_on_the_calibrated_probabilities(capsys):
    logits, labels = drawn(400, 3.0)
    found = decide(logits, labels, Unknown(by="coverage", level=0.9), **options())
    assert found.temperature == fit_temperature(logits, labels) > 2
    probabilities = mean_probabilities(logits, found.temperature)
    assert found.coverage == (probabilities.max(axis=1) >= found.threshold).mean() >= 0.9
    assert (probabilities.max(axis=1) >= found.threshold + 2 * MARGIN).mean() < 0.9
    assert found.log_loss == log_loss(probabilities, labels) < found.uncalibrated_log_loss
    assert (found.by, found.level, found.background, found.clip_seconds) == ("coverage", 0.9, None, 2.5)
    said = capsys.readouterr().err
    assert f"temperature {found.temperature:.3f}" in said and f"{found.uncalibrated_log_loss:.4f} before" in said
    assert f"below a confidence of {found.threshold:.4f}" in said


def test_without_calibration_the_temperature_is_1():
    logits, labels = drawn(50, 3.0)
    found = decide(logits, labels, COVERAGE, **options(calibrate=False, background=1))
    assert found.temperature == 1.0 and found.log_loss == found.uncalibrated_log_loss and found.background == "b"


def test_a_level_that_no_threshold_reaches_is_said(capsys):
    found = decide(np.zeros((4, 1, 4)), np.array([0, 1, 2, 3]), PRECISION, **options())
    assert found.precision == 0.25
    assert "no threshold reaches finetune.unknown.level = 0.75 by precision" in capsys.readouterr().err
