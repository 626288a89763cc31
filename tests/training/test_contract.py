"""A top on cached features is refused what only networks have."""

import pytest

from pipeline.console import UserError
from pipeline.training.contract import check_frozen
from tests.training.test_tf_config import finetune


@pytest.mark.parametrize("kind", ["probe", "head"])
def test_settings_of_networks_are_refused(kind):
    check_frozen(finetune("none", kind))
    with pytest.raises(UserError, match=r"on one device; set finetune\.distribute=none"):
        check_frozen(finetune("mirrored", kind))
    with pytest.raises(UserError, match=f"a {kind} on cached features trains in float32"):
        check_frozen(finetune("none", kind).model_copy(update={"precision": "mixed_bfloat16"}))
