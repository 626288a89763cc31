"""The shared clips: aligned by name of clip and class, refused where the test sets do not fit together."""

import numpy as np
import pytest

from pipeline.comparison.shared import share_clips
from pipeline.console import UserError
from tests.comparison.models import CLASSES, NAMES, SURE, UNSURE, clip, make_model

WRONG = (clip("jump", 2, 1), clip("dance", 1, 3))


def test_orders_of_clips_and_classes_do_not_matter(tmp_path):
    first = make_model(tmp_path / "first", WRONG)
    second = make_model(tmp_path / "second", WRONG, classes=reversed(CLASSES), names=reversed(NAMES))
    shared = share_clips([first, second], "test")
    assert list(shared.clips) == sorted(NAMES) and shared.classes == list(CLASSES)
    assert [shared.classes[label] for label in shared.labels] == [name.split("/")[0] for name in shared.clips]
    for right, probabilities in zip(shared.right, shared.probabilities, strict=True):
        assert set(shared.clips[~right]) == set(WRONG)
        own = probabilities[np.arange(len(shared)), shared.labels]
        np.testing.assert_allclose(own, np.where(right, SURE, UNSURE))
    np.testing.assert_allclose(shared.losses[1], -np.log(np.where(shared.right[1], SURE, UNSURE)))


def test_three_classes_in_another_order(tmp_path):
    names = ["x/x_g1_c1.avi", "y/y_g1_c1.avi", "z/z_g1_c1.avi"]
    first = make_model(tmp_path / "a", names=names, classes="xyz")
    second = make_model(tmp_path / "b", names=names, classes="yzx", wrong=["y/y_g1_c1.avi"])
    shared = share_clips([first, second], "test")
    assert list(shared.labels) == [0, 1, 2]
    np.testing.assert_allclose(np.diag(shared.probabilities[0]), SURE)
    np.testing.assert_allclose(np.diag(shared.probabilities[1]), [SURE, UNSURE, SURE])
    assert shared.right.tolist() == [[True] * 3, [True, False, True]]


def test_only_shared_clips_are_kept_and_the_totals_are_known(tmp_path):
    first, second = make_model(tmp_path / "a", names=NAMES[:20]), make_model(tmp_path / "b", names=NAMES[5:])
    shared = share_clips([first, second], "test")
    assert list(shared.clips) == sorted(NAMES[5:20]) and shared.totals == (20, 19)


def test_other_classes_are_refused(tmp_path):
    first = make_model(tmp_path / "a")
    second = make_model(tmp_path / "b", classes=[*CLASSES, "kick", "run"])
    with pytest.raises(UserError, match="a and b tell apart different classes: only b has kick, run"):
        share_clips([first, second], "test")


def test_another_label_of_a_clip_is_refused(tmp_path):
    first = make_model(tmp_path / "a")
    second = make_model(tmp_path / "b", relabelled={clip("jump", 1, 1): "dance"})
    with pytest.raises(
        UserError, match=r"1 shared clip has another class in b than in a, first jump/jump_g1_c1.avi: dance, not jump"
    ):
        share_clips([first, second], "test")


def test_no_shared_clip_is_refused(tmp_path):
    first, second = make_model(tmp_path / "a", names=NAMES[:12]), make_model(tmp_path / "b", names=NAMES[12:])
    with pytest.raises(UserError, match=r"no test clip is shared by a and b \(a 12, b 12\)"):
        share_clips([first, second], "test")


def test_a_split_without_clips_is_refused(tmp_path):
    models = [make_model(tmp_path / name) for name in "ab"]
    with pytest.raises(UserError, match="a: no validation clips"):
        share_clips(models, "validation")


def test_groups_of_any_model_are_joined(tmp_path):
    """The second takes g1 and g2 of dance for one group, and the third g2 and g3: so all three are one."""
    first = make_model(tmp_path / "a")
    second = make_model(tmp_path / "b", groups={clip("dance", 2, n): "dance_g1" for n in (1, 2, 3)})
    third = make_model(tmp_path / "c", groups={clip("dance", 3, 1): "dance_g2"})
    shared = share_clips([first, second, third], "test")
    groups = dict(zip(shared.clips, shared.groups, strict=True))
    joined = {groups[clip("dance", group, n)] for group in (1, 2, 3) for n in (1, 2, 3)}
    assert len(joined) == 1 and len(set(groups.values())) == 6
    assert shared.regrouped == 4
    assert share_clips([first, first], "test").regrouped == 0
