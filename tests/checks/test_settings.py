import pytest

from pipeline.checks.settings import check_settings
from pipeline.console import UserError
from tests.checks.conftest import params_of


def check(*overrides: str, gpu: bool = False, **changes):
    return list(check_settings(params_of(*overrides, **changes), gpu))


def test_settings_that_fit_are_ok():
    assert [found.status for found in check()] == ["ok"]


@pytest.mark.parametrize(
    ("overrides", "changes", "status", "message"),
    [
        (("model=a0", "finetune=head"), {"finetune__precision": "mixed_bfloat16"}, "problem", "trains in float32"),
        ((), {"finetune__precision": "mixed_float16"}, "problem", "needs a GPU"),
        ((), {"finetune__precision": "mixed_bfloat16"}, "warning", "slower than float32"),
        ((), {"finetune__trainable": "head"}, "warning", "backbone is untrained"),
    ],
)
def test_settings_that_do_not_fit_together_are_named(overrides, changes, status, message):
    (found, *_) = check(*overrides, **changes)
    assert found.status == status and message in found.message and found.advice


@pytest.mark.parametrize(
    ("overrides", "changes", "message"),
    [
        (("finetune=last_blocks",), {"finetune__blocks": 16}, "finetune.blocks = 16, but a0 has 15 blocks"),
        ((), {"model__fps": 8}, "a0 was made for 5"),
    ],
)
def test_settings_that_the_model_does_not_support_are_rejected_with_params(overrides, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        params_of(*overrides, **changes)
    assert caught.value.advice


def test_mixed_precision_is_ok_with_a_gpu():
    for precision in ("mixed_float16", "mixed_bfloat16"):
        assert [found.status for found in check(gpu=True, finetune__precision=precision)] == ["ok"]
    assert [found.status for found in check("finetune=last_blocks", finetune__blocks=15)] == ["ok"]
