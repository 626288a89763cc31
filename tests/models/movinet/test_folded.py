"""What a folded network takes from a table instead of from the checkpoint. test_variants.py compares its features."""

import pytest
from official.projects.movinet.modeling import movinet

from pipeline.models.movinet.network.folded import block_strides
from pipeline.models.movinet.network.variants import VARIANTS


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_strides_are_those_of_the_model_garden(name):
    blocks = [spec for spec in movinet.BLOCK_SPECS[VARIANTS[name].family] if isinstance(spec, movinet.MovinetBlockSpec)]
    assert [(1, stride, stride) for stride in block_strides(VARIANTS[name])] == [
        stride for spec in blocks for stride in spec.strides
    ]
