import numpy as np
import pytest
import tf_keras

from pipeline.training.interpolation import STEPS, choose_step, clip_losses, interpolate


def test_losses_are_of_the_mean_probabilities_of_the_views():
    logits = np.log([[[0.9, 0.1], [0.5, 0.5]], [[0.2, 0.8], [0.4, 0.6]]])
    np.testing.assert_allclose(clip_losses(logits, np.array([0, 0])), -np.log([0.7, 0.3]))


def test_the_smallest_step_within_one_standard_error_of_the_best_is_chosen():
    spread = np.array([-0.1, 0.1, -0.1, 0.1])  # standard error 0.0577
    means = np.array([0.5, 0.35, 0.31, 0.27, 0.30])
    noisy = means[:, None] + np.where(np.arange(5) == 3, 0, 1)[:, None] * spread  # the best has no spread, the others have
    assert choose_step(noisy) == 2
    assert choose_step(np.repeat(means[:, None], 4, axis=1)) == 3, "without spread only the best will do"
    assert choose_step(means[:, None] + 10 * np.where(np.arange(5) == 3, 0, 1)[:, None] * spread) == 0, (
        "what is uncertain is undone"
    )
    assert choose_step(np.array([[0.5], [0.4], [0.4]])) == 1


def test_clips_that_are_hard_for_all_steps_do_not_hide_a_gain():
    difficulty = np.array([0.0, 4.0, 0.1, 3.0])
    losses = np.stack([difficulty + 0.2, difficulty + 0.1, difficulty])
    assert choose_step(losses) == 2


def test_the_network_gets_the_weights_of_the_chosen_step():
    network = tf_keras.Sequential([tf_keras.layers.InputLayer([1]), tf_keras.layers.Dense(2)])
    start = [np.float32([[0.0, 0.0]]), np.float32([1.0, 0.0])]
    network.set_weights([np.float32([[0.0, 0.0]]), np.float32([3.0, 0.0])])
    labels = np.zeros(50, int)
    seen = []

    def logits_of():
        bias = float(network.get_weights()[1][0])
        seen.append(bias)
        return np.tile([[[2 - abs(bias - 1.4), 0.0]]], (50, 1, 1)), labels  # best at a bias of 1.4, step 0.2

    found, logits, _ = interpolate(network, start, logits_of)
    assert seen == pytest.approx([1 + 2 * step for step in STEPS], abs=1e-6)
    assert found.chosen == 0.2 and found.log_loss[2] == min(found.log_loss) and len(found.log_loss) == 11
    assert network.get_weights()[1][0] == pytest.approx(1.4, abs=1e-6)
    assert logits[0, 0, 0] == pytest.approx(2.0, abs=1e-5)
