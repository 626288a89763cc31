"""Differing parameters: equal values are equal however they are written, and what is not recorded is not a difference."""

import pytest

from pipeline.comparison.parameters import differing_parameters
from pipeline.comparison.results import Cost, ModelResults, parameter_text, parameter_texts


def model(params) -> ModelResults:
    return ModelResults("model", "", None, params, Cost())


@pytest.mark.parametrize(
    ("value", "stored"),
    [(5, "5.0"), (5.0, "5"), (0.002, "0.002"), (None, "null"), (True, "true"), ("a0", "a0"), ([1, 2], "[1, 2]")],
)
def test_a_value_of_yaml_and_as_mlflow_stores_it_are_equal(value, stored):
    assert parameter_text(value) == parameter_text(stored)


def test_values_that_differ_have_different_texts():
    texts = [parameter_text(value) for value in (1, 0.1, None, True, "a", [1], 1.5, "1.50")]
    assert len(set(texts)) == len(texts) - 1  # 1.5 and "1.50"


def test_nested_names_are_dotted_and_credentials_left_out():
    texts = parameter_texts({"data": {"archive": "https://me:secret@example.org/a.zip?token=x", "split": {"fold": 1}}, "seed": 3})
    assert texts == {"data.archive": "https://example.org/a.zip", "data.split.fold": "1", "seed": "3"}


def test_only_differing_ones_those_that_change_predictions_first():
    first = model({"seed": "1", "speed.workers": "2", "finetune.epochs": "5", "finetune.trainable": "head"})
    second = model({"seed": "1", "speed.workers": "4", "finetune.epochs": "9", "finetune.trainable": "head"})
    found = differing_parameters([first, second])
    assert [(one.name, one.values) for one in found] == [("finetune.epochs", ("5", "9")), ("speed.workers", ("2", "4"))]


def test_a_key_of_one_family_differs_but_an_unrecorded_section_does_not():
    first = model({"model.family": "movinet", "model.convolutions": "auto", "export.formats": "[]"})
    second, unknown = model({"model.family": "cnn_rnn"}), model({})
    found = differing_parameters([first, second, unknown])
    assert [(one.name, one.values) for one in found] == [
        ("model.convolutions", ("auto", None, None)),
        ("model.family", ("movinet", "cnn_rnn", None)),
    ]
