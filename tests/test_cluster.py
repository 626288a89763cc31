"""A real cluster on this machine, a scheduler and two workers as separate processes: the same results as without one."""

import shutil
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline import cluster
from pipeline.cluster import Call, Workers, open_cluster
from pipeline.console import UserError
from pipeline.settings import Augment, Cluster
from stages import extract
from tests import cluster_tasks as tasks
from tests.dask_cluster import dask_cluster
from tests.extracting import break_clips, contents, manifest_of, settings, write_clip
from tests.servers import free_port

ROOT = Path(__file__).parent.parent


def dask_at(address: str | None, workers: int | None = None) -> Cluster:
    return Cluster(engine="dask", address=address, workers=workers)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


@pytest.fixture(scope="module")
def address():
    with dask_cluster(ROOT, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1", TF_CPP_MIN_LOG_LEVEL="3") as found:
        yield found


pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]


@pytest.fixture
def workers(address):
    with open_cluster(dask_at(address)) as opened:
        deadline = time.monotonic() + 60
        while opened.threads() < 2:  # one that an earlier test killed is being started again
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield opened


def test_extraction_gives_the_same_bytes(tmp_path, address):
    splits = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    names = [f"{'ab'[index % 2]}/g{index // 4}_{index}.avi" for index in range(12)]
    for index, name in enumerate(names):
        write_clip(tmp_path / "clips" / name, 15 * index, 5 + index)
    manifest = manifest_of(tmp_path / "clips", dict(zip(names, splits, strict=True)))
    break_clips(tmp_path / "clips", names[0])
    outs = [tmp_path / name for name in ("local", "address", "started")]
    for out, where in zip(outs, (cluster.LOCAL, dask_at(address), dask_at(None, workers=2)), strict=True):
        summary = extract.run(settings(), manifest, tmp_path / "clips", out, 1, where)
        assert [item.clip for item in summary.skipped] == [names[0]]
    assert contents(outs[0]) == contents(outs[1]) == contents(outs[2])


def small_backbone():
    """Stands for a family's backbone: `features` of views float32 (N, 3, 32, 32, 3) -> float32 (N, 7)."""
    import tensorflow as tf

    backbone = tf.Module()
    backbone.kernel = tf.Variable(tf.random.stateless_normal([3, 3, 3, 7], seed=[1, 2]))

    def features(views):
        frames = tf.nn.conv2d(tf.reshape(views, [-1, 32, 32, 3]), backbone.kernel, 2, "SAME")
        return tf.reduce_mean(tf.reshape(frames, [-1, 3 * 16 * 16, 7]), axis=1)

    backbone.features = tf.function(features, input_signature=[tf.TensorSpec([None, 3, 32, 32, 3], tf.float32)])
    return backbone


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[Path]:
    """23 clips in three files of unequal length."""
    import tensorflow as tf

    from pipeline.video.records import serialize_clip, write_shard

    folder = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(1)
    files = []
    for number, count in enumerate((9, 6, 8)):
        clips = []
        for index in range(count):
            jpegs = [tf.io.encode_jpeg(rng.integers(0, 256, (32, 40, 3)).astype(np.uint8)).numpy() for _ in range(4 + index % 3)]
            clips.append(serialize_clip(f"a/ü{number}-{index}", index % 2, "-", f"g{index}", jpegs, list(range(len(jpegs)))))
        files.append(folder / f"train-{number}.tfrecord")
        write_shard(files[-1], clips)
    return files


def test_record_positions_are_those_of_reading(records):
    from pipeline.video.parsing import read_clips
    from pipeline.video.records import clip_positions, read_record

    assert [read_record(position) for position in clip_positions(records)] == [clip.numpy() for clip in read_clips(records)]


def test_a_cut_file_is_refused(records, tmp_path):
    from pipeline.video.records import clip_positions

    (tmp_path / "cut").write_bytes(records[0].read_bytes()[:-9])
    with pytest.raises(UserError, match="cut off in its middle"):
        clip_positions([tmp_path / "cut"])


def test_embedding_gives_the_same_features_and_resumes(records, tmp_path, workers, monkeypatch):
    """In chunks of 12 views; then again where a killed run had stored some."""
    import tensorflow as tf

    from pipeline.embedding import compute
    from pipeline.embedding.splits import embed_split
    from pipeline.embedding.store import FeatureStore
    from pipeline.training.datasets import ViewRecipe
    from pipeline.video.sampling import Sampling
    from tests.test_params import composed

    monkeypatch.setattr(compute, "CHUNK", 12)
    recipe = ViewRecipe(Sampling(3, 32, "uniform", "repeat"), Augment(**composed()["augment"]), True, ["x", "y"], seed=1)
    backbone = small_backbone()
    tf.saved_model.save(backbone, str(tmp_path / "backbone"))
    network = tasks.open_saved(tmp_path / "backbone", threads=1)

    def on_cluster(views):
        return compute.compute_on_cluster(workers, partial(tasks.open_saved, tmp_path / "backbone"), views, recipe, 6)

    def embed(name: str, compute_views):
        (tmp_path / name).mkdir()
        store = FeatureStore(tmp_path / f"store-{name}", 1.0, (7,))
        counts = embed_split("train", records, 23, {"of": "test"}, recipe, 3, store, compute_views, tmp_path / name)
        files = ("train.npy", "train_labels.npy", "train.csv")
        return counts, [(tmp_path / name / file).read_bytes() for file in files]

    counts, expected = embed("one", lambda views: compute.compute(network, views, recipe, 6))
    assert (counts.stored, counts.computed) == (0, 69)
    features = np.load(tmp_path / "one/train.npy")
    assert np.abs(features[:, 0] - features[:, 1]).max() > 1e-4, "the second view is augmented"
    counts, mine = embed("cluster", on_cluster)
    assert (counts.stored, counts.computed) == (0, 69) and mine == expected

    def killed_after_two_chunks(views):
        computed = on_cluster(views)
        yield next(computed)
        yield next(computed)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed("killed", killed_after_two_chunks)
    shutil.move(tmp_path / "store-killed", tmp_path / "store-resumed")
    counts, mine = embed("resumed", on_cluster)
    assert (counts.stored, counts.computed) == (24, 45) and mine == expected


def test_results_come_in_order_and_few_calls_are_in_flight(workers):
    made = 0

    def calls():
        nonlocal made
        for number in range(60):
            made += 1
            yield Call((number,), 10, str(number))

    for number, result in enumerate(workers.in_order(tasks.square, calls(), ahead=3)):
        assert result == number * number
        assert made <= number + 3 * workers.threads() + 2
    made = 0
    for number, _ in enumerate(workers.in_order(tasks.square, calls(), ahead=30, most_bytes=25)):
        assert made <= number + 4


def test_several_results_are_fetched_at_once(workers, monkeypatch):
    """Otherwise each clip would cost a round trip to its worker."""
    fetch, together = Workers._result, threading.Barrier(4, timeout=60)

    def fetched_together(self, call, future):
        together.wait()
        return fetch(self, call, future)

    monkeypatch.setattr(Workers, "_result", fetched_together)
    calls = (Call((number,), 0, str(number)) for number in range(8))
    assert list(workers.in_order(abs, calls, ahead=8)) == list(range(8))


def test_a_call_whose_worker_dies_runs_again(workers, tmp_path):
    calls = [Call((str(tmp_path / "marker"), number), 0, str(number)) for number in range(6)]
    assert list(workers.in_order(tasks.die_once, calls, ahead=2)) == list(range(6))
    assert (tmp_path / "marker").exists()


def test_a_call_that_kills_every_worker_is_named(workers):
    with pytest.raises(UserError, match=r"^clip 7: each of the workers that had it died"):
        list(workers.in_order(tasks.die, [Call((), 0, "clip 7")], ahead=1))


def test_an_error_of_the_work_itself_is_raised(workers):
    with pytest.raises(ValueError, match="broken here"):
        list(workers.in_order(tasks.fail, [Call(("broken here",), 0, "-")], ahead=1))


def test_a_worker_with_other_code_or_python_is_refused(address, workers, monkeypatch):
    other = cluster.software() | {"code": "of yesterday", "Python": "3.12.1"}
    monkeypatch.setattr(cluster, "software", lambda: other)
    with pytest.raises(
        UserError, match=r"worker tcp://\S+ \(commit \S+, here \S+\) has Python 3\.11\.\d+ instead of 3\.12\.1, code"
    ):
        open_cluster(dask_at(address)).__enter__()
    with pytest.raises(UserError, match=r"a worker on .* has Python"):  # one that joins later
        list(workers.in_order(tasks.square, [Call((1,), 0, "-")], ahead=1))


def test_an_address_without_an_answer(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    for address in (f"tcp://127.0.0.1:{free_port()}", "nonsense://x"):
        with pytest.raises(UserError, match="no Dask scheduler answers there") as caught:
            open_cluster(dask_at(address)).__enter__()
        assert "\n" not in str(caught.value)


def test_no_workers_and_a_scheduler_that_goes_away(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(cluster, "WORKERS_SECONDS", 1)
    with LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0", threads_per_worker=1) as local:
        with pytest.raises(UserError, match="the scheduler has no workers; start some"):
            open_cluster(dask_at(local.scheduler_address)).__enter__()
        local.scale(1)
        with open_cluster(dask_at(local.scheduler_address)) as opened:
            local.scale(0)
            with pytest.raises(UserError, match="all workers are lost; start workers and run again: finished work is kept"):
                list(opened.in_order(tasks.square, [Call((2,), 0, "-")], ahead=1))
            local.close()
            with pytest.raises(UserError, match="the scheduler is no longer reachable"):
                list(opened.in_order(tasks.square, [Call((2,), 0, "-")], ahead=1))


def test_a_local_engine_opens_nothing():
    with open_cluster(cluster.LOCAL) as opened:
        assert opened is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["cluster.address=tcp://one:8786"], "are for cluster.engine = dask"),
        (["cluster.workers=2"], "are for cluster.engine = dask"),
        (["cluster=dask", "cluster.address=tcp://one:8786", "cluster.workers=2"], "has its own workers"),
    ],
)
def test_settings_that_would_be_ignored_are_refused(overrides, message):
    from pipeline.params import parse_params
    from tests.test_params import composed

    with pytest.raises(UserError, match=message):
        parse_params(composed(*overrides))
