import pytest

from pipeline.console import UserError
from pipeline.sources.classes import choose_classes

AVAILABLE = {"Archery", "HandStandPushups", "ApplyLipstick", "ApplyEyeMakeup"}


def test_all_first_and_named():
    assert choose_classes(AVAILABLE, None, None) == ["ApplyEyeMakeup", "ApplyLipstick", "Archery", "HandStandPushups"]
    assert choose_classes(AVAILABLE, 2, None) == ["ApplyEyeMakeup", "ApplyLipstick"]
    assert choose_classes(AVAILABLE, None, ["HandstandPushups", "Archery"]) == ["Archery", "HandStandPushups"]
    assert choose_classes(AVAILABLE, None, ["HandStandPushups", "Archery"]) == ["Archery", "HandStandPushups"]


@pytest.mark.parametrize(
    ("number", "names", "empty", "message"),
    [
        (None, ["Archrey", "ApplyLipstick"], (), "no class 'Archrey'; did you mean Archery"),
        (None, ["zzz", "Archery"], (), "no class 'zzz'; there are: ApplyEyeMakeup"),
        (None, ["HandstandPushups", "HandStandPushups"], (), "HandStandPushups more than once"),
        (None, [], (), "data.classes is empty"),
        (None, ["Archery"], (), "only one class"),
        (5, None, (), "only 4 classes"),
        (None, None, ("Bare",), "class 'Bare' has no videos"),
        (None, ["Bare", "Archery"], ("Bare",), "class 'Bare' has no videos"),
    ],
)
def test_wrong_choices_say_what_is_wrong(number, names, empty, message):
    with pytest.raises(UserError, match=message):
        choose_classes(AVAILABLE, number, names, empty)


def test_an_empty_class_matters_only_where_it_is_chosen():
    assert choose_classes(AVAILABLE, None, ["Archery", "ApplyLipstick"], ["Bare"]) == ["ApplyLipstick", "Archery"]
    assert choose_classes(AVAILABLE, 2, None, ["Bare"]) == ["ApplyEyeMakeup", "ApplyLipstick"]
