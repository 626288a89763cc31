"""Which trials share their backbone; that one trains in this process with the scores that the stages give it."""

import pytest

from pipeline.sweeping.tops import share_backbone
from tests.test_params import ROOT


@pytest.mark.parametrize(
    ("swept", "shared"),
    [
        (["finetune.learning_rate", "finetune.dropout"], True),
        (["finetune"], True),  # of such trials only those with a frozen backbone
        (["evaluate.bootstrap", "evaluate.bins", "finetune/unknown"], True),
        (["tracking.experiment", "export", "report.confused_pairs", "speed.inference_batch"], True),
        ([], True),
        (["finetune.learning_rate", "model"], False),
        (["model.weights"], False),
        (["evaluate.views"], False),
        (["evaluate"], False),
        (["embed.views"], False),
        (["frames.fps"], False),
        (["frames"], False),
        (["data.split.fold"], False),
        (["data/split"], False),
        (["augment.crop"], False),
        (["seed"], False),
        (["experiment"], False),
    ],
)
def test_trials_share_a_backbone_if_no_stage_up_to_embed_depends_on_what_is_swept(swept, shared):
    assert share_backbone(swept, ROOT / "dvc.yaml") is shared
