import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.console import UserError
from pipeline.training.balance import class_weights
from pipeline.training.cached_features import CachedFeatures
from pipeline.training.probe import PENALTIES, fit, fit_probe


def examples(clips: int, views: int, classes: int, *, seed: int, size: int = 5, noise: float = 1.0) -> CachedFeatures:
    """Features around a mean for each class, of very different scales."""
    random = np.random.default_rng(seed)
    labels = np.arange(clips) % classes
    means = np.random.default_rng(0).normal(0, 1, (classes, size))
    features = (means[labels][:, None] + random.normal(0, noise, (clips, views, size))) * 10.0 ** np.arange(size) + 7
    return CachedFeatures(features.astype(np.float32), np.repeat(labels[:, None], views, 1).astype(np.int32), None)


@pytest.mark.parametrize(("size", "classes"), [(5, 3), (200, 3), (5, 2)])
def test_each_fit_minimises_the_penalised_loss(size, classes):
    """Fewer inputs than examples, more, and two classes: the gradient at the solution is zero, to many digits."""
    data = examples(60, 1, classes, seed=1, size=min(size, 5)).flat()
    inputs = data.features.astype(np.float64)
    if size > 5:
        inputs = inputs @ np.random.default_rng(2).normal(size=(5, size)) + np.random.default_rng(3).normal(size=(60, size))
    mean, deviation = inputs.mean(0), inputs.std(0)
    for penalty, layer in fit(inputs, data.labels, classes, (1.0, 0.01)):
        error = (layer.probabilities(inputs) - np.eye(classes)[data.labels]) / len(inputs)
        kernel = layer.kernel * deviation[:, None]  # of the standardised inputs
        if classes == 2:  # one logit, the difference of two
            kernel, error = 2 * kernel, error
        gradient = ((inputs - mean) / deviation).T @ error + penalty * kernel
        assert np.abs(gradient).max() < 1e-5
        assert np.abs(error.sum(0)).max() < 1e-5


def test_two_classes_are_those_of_scikit_learn():
    data = examples(40, 1, 2, seed=1).flat()
    features = data.features.astype(np.float64)  # in float32 the reference is off by 3e-5 on some processors
    standard = (features - features.mean(0)) / features.std(0)
    expected = LogisticRegression(C=1 / (0.1 * 40), tol=1e-8, max_iter=1000).fit(standard, data.labels).predict_proba(standard)
    (_, layer), *_ = fit(data.features, data.labels, 2, (0.1,))
    np.testing.assert_allclose(layer.probabilities(data.features), expected, atol=1e-5)


@pytest.mark.parametrize("labels", [[0, 2, 3], [1, 3]])
def test_a_class_without_training_clips_is_improbable_and_the_others_are_as_without_it(labels):
    data = examples(60, 1, len(labels), seed=1).flat()
    (_, expected), *_ = fit(data.features, data.labels, len(labels), (0.1,))
    (_, layer), *_ = fit(data.features, np.array(labels)[data.labels], 4, (0.1,))
    probabilities = layer.probabilities(data.features)
    absent = probabilities[:, np.setdiff1d(range(4), labels)]
    assert absent.max() <= 1 / 60 + 1e-9 and absent.min() > 0
    others = probabilities[:, labels] / probabilities[:, labels].sum(1, keepdims=True)
    np.testing.assert_allclose(others, expected.probabilities(data.features), atol=1e-9)


def test_training_clips_of_one_class_alone_are_an_error():
    with pytest.raises(UserError, match="all training clips are of one class"):
        next(fit(np.ones((4, 2)), np.ones(4, int), 3))


def test_the_penalty_with_the_lowest_validation_loss_is_chosen():
    kernel = np.random.default_rng(1).normal(0, 0.01, (5, 30))
    train, validation = (
        CachedFeatures(np.tanh(data.features @ kernel), data.labels, None)
        for data in (examples(24, 3, 3, seed=1), examples(90, 2, 3, seed=2))
    )
    history, best, layer = fit_probe(train, validation, 3)
    assert history["penalty"].tolist() == list(PENALTIES) and history["epoch"].tolist() == list(range(1, len(PENALTIES) + 1))
    assert 1 < best < len(PENALTIES), "noisy examples: neither the largest nor the smallest penalty"
    assert best == history["epoch"][history["validation_loss"].idxmin()]
    mean = layer.probabilities(validation.features).mean(1)
    labels = validation.labels[:, 0]
    row = history.iloc[best - 1]
    assert -np.log(mean[np.arange(90), labels]).mean() == pytest.approx(row["validation_loss"], rel=1e-4)
    assert (mean.argmax(1) == labels).mean() == pytest.approx(row["validation_accuracy"])
    assert row["validation_accuracy"] > 0.5
    again, number, _ = fit_probe(train, validation, 3)
    assert number == best
    np.testing.assert_allclose(again["validation_loss"], history["validation_loss"], rtol=1e-9)


def test_a_balanced_probe_counts_each_class_the_same():
    """Weights are as repeated examples; only the scale of the inputs is that of the examples as they are."""
    data = examples(60, 1, 3, seed=1).flat()
    rare = np.flatnonzero((data.labels != 2) | (np.arange(60) % 4 == 2))
    inputs, labels = data.features[rare].astype(np.float64), data.labels[rare]
    weights = class_weights(np.bincount(labels))[labels]
    (_, plain), (_, balanced) = (next(fit(inputs, labels, 3, (0.01,), weights=each)) for each in (None, weights))
    mean = {name: layer.probabilities(inputs) for name, layer in (("plain", plain), ("balanced", balanced))}
    # The bias is not penalised, so that the mean probability of each class is its (weighted) share.
    np.testing.assert_allclose(mean["plain"].mean(0), np.bincount(labels) / len(labels), atol=1e-5)
    np.testing.assert_allclose(np.average(mean["balanced"], axis=0, weights=weights), [1 / 3] * 3, atol=1e-5)


def test_penalties_that_were_not_fitted_to_the_end_are_named(monkeypatch, capsys):
    data = examples(60, 1, 3, seed=1).flat()
    list(fit(data.features, data.labels, 3, (1.0, 1e-5)))
    assert "not fitted" not in capsys.readouterr().err
    monkeypatch.setattr("pipeline.training.probe._STEPS", 2)
    list(fit(data.features, data.labels, 3, (1.0, 1e-5)))
    assert "within 2 steps with the penalties 1, 1e-05" in capsys.readouterr().err
