"""The whole pipeline on real UCF-101 clips and real Kinetics-600 weights, fetched over HTTP by range, by official fold 1."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands.predict import predict_clip
from pipeline.files import read_json
from pipeline.inference.formats import open_model
from pipeline.inference.sources import find_sources
from tests.pipeline_runs import Repository
from tests.range_server import RangeServer

REAL = os.environ.get("MOVINET_REAL_DATA")
pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.xdist_group("real"),
    pytest.mark.skipif(not REAL, reason="MOVINET_REAL_DATA names no folder of real clips and weights"),
]


class RealRepository(Repository):
    """Native size and rate instead of the small settings of other tests, but few views, so that it takes minutes."""

    def configure(self, *overrides: str) -> None:
        self.overrides = overrides
        import yaml

        from tests.test_params import composed

        (self.folder / "params.yaml").write_text(yaml.safe_dump(composed(*overrides), sort_keys=False))


@pytest.fixture(scope="module")
def real_run(tmp_path_factory) -> tuple[RealRepository, int]:
    """The pipeline run to the report, and the bytes the server sent."""
    archive = (Path(REAL) / "UCF101_videos.zip").read_bytes()
    with RangeServer({"UCF101_videos.zip": archive}) as server:
        repository = RealRepository(
            tmp_path_factory.mktemp("real"),
            "data=ucf101_subset",
            f"data.archive={server.url('UCF101_videos.zip')}",
            "data.num_classes=5",
            "data.split.train_per_class=null",
            "data.split.test_per_class=null",
            "model=a0_stream_relu6",
            f"model.weights={REAL}/movinet_a0_stream_k600.tar.gz",
            "embed.views=1",
            "evaluate.views=1",
        )
        repository.run("download", "extract", "embed", "finetune", "evaluate", "report")
        return repository, server.bytes


def test_a_head_on_the_pretrained_backbone_classifies_real_clips(real_run):
    test = read_json(real_run[0].folder / "results/metrics.json")["test"]
    assert test["clips"] == 105
    assert test["groups"] == 35
    assert test["top1"] >= 0.97


def test_only_the_members_bytes_are_fetched(real_run):
    repository, sent = real_run
    manifest = pd.read_csv(repository.folder / "data/manifest.csv")
    assert len(manifest) == 285
    assert sent <= 1.05 * manifest["bytes"].sum()


def test_no_group_is_on_both_sides(real_run):
    manifest = pd.read_csv(real_run[0].folder / "data/manifest.csv")
    numbers = manifest["clip"].str.extract(r"_g(\d+)_")[0].astype(int)
    assert set(numbers[manifest["split"] == "test"]) == set(range(1, 8))
    assert manifest.groupby("group")["split"].nunique().max() == 1


def test_the_probabilities_are_those_of_the_served_model(real_run):
    import tensorflow as tf

    from pipeline.video.decode import decode_clip

    folder = real_run[0].folder
    row = pd.read_csv(folder / "results/predictions.csv").query("split == 'test'").iloc[0]
    frames = decode_clip(folder / "data/clips" / row["clip"], 5, 172).images
    serve = tf.saved_model.load(str(folder / "models/classifier/saved_model")).signatures["serving_default"]
    served = serve(frames=tf.constant(frames)[None])["probabilities"].numpy()[0]
    # The records hold JPEGs of these frames, so the agreement is that of quality 95.
    np.testing.assert_allclose(served, row.filter(like="p_").to_numpy(float), atol=0.05)


def test_predict_names_the_classes_of_new_clips(real_run):
    folder = real_run[0].folder
    rows = pd.read_csv(folder / "results/predictions.csv").query("split == 'test'").groupby("actual").head(1)
    predictor = open_model(str(folder / "models/classifier"))
    named = {}
    for clip in rows["clip"]:
        (source,) = find_sources(str(folder / "data/clips" / clip))
        named[clip] = predict_clip(predictor, source).top[0].name
    assert len(named) == 5
    assert named == dict(zip(rows["clip"], rows["predicted"], strict=True))
