"""The stages one after another, the last blocks of the network trained: killed, resumed, and served as they were evaluated."""

import signal
import time

import numpy as np
import pandas as pd
import pytest

from pipeline.files import read_json
from tests.pipeline_runs import Repository, check_served_as_evaluated, clips, weights  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]


@pytest.fixture(scope="module")
def full_run(tmp_path_factory, clips, weights) -> Repository:
    """The last blocks trained, killed by SIGKILL on the way and run again."""
    options = ("finetune=last_blocks", "finetune.epochs=3", "speed.checkpoint_minutes=0.00001")
    folder = tmp_path_factory.mktemp("full")
    repository = Repository(folder, f"data.folder={clips}", f"model.weights={weights}", *options)
    repository.run("download", "extract", "embed")
    assert read_json(folder / "data/embeddings/embed.json")["mode"] == "none"
    process = repository.start("finetune")
    deadline = time.monotonic() + 300
    while not list(folder.glob(".cache/finetune/*/checkpoint")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()[-3000:]
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "models/classifier").exists()
    assert "resuming in epoch" in repository.run("finetune")
    assert not list(folder.glob(".cache/finetune/*/checkpoint"))
    repository.run("evaluate")
    return repository


def test_a_killed_training_and_its_resumption_are_one_mlflow_run(full_run):
    from mlflow import MlflowClient

    folder = full_run.folder
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [item for item in client.search_experiments() if item.name == "folder"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2, 3]


def test_a_killed_training_of_the_network_gives_the_numbers_of_a_whole_one(full_run, tmp_path):
    import tensorflow as tf

    from stages import finetune

    folder = full_run.folder
    history = pd.read_csv(folder / "results/history.csv")
    assert len(history) == 3
    places = {"frames": folder / "data/frames", "embeddings": folder / "data/embeddings"}
    whole = finetune.run(full_run.params, **places, folder=tmp_path / "scratch", out=tmp_path / "classifier")
    clock = ["seconds", "examples_per_second"]
    np.testing.assert_allclose(
        history.drop(columns=clock), whole.drop(columns=clock), rtol=1e-6
    )  # an interrupted mean is rounded twice
    one, other = (
        tf.train.load_checkpoint(str(place / "ckpt-1")) for place in (folder / "models/classifier", tmp_path / "classifier")
    )
    keys = one.get_variable_to_shape_map()
    assert set(keys) == set(other.get_variable_to_shape_map())
    assert not [key for key in keys if "optimizer" in key]
    for key in sorted(key for key in keys if key.endswith("VARIABLE_VALUE")):
        np.testing.assert_array_equal(one.get_tensor(key), other.get_tensor(key))
    read = read_json(tmp_path / "classifier/classifier.json")
    assert read == read_json(folder / "models/classifier/classifier.json")


def test_the_trained_network_is_what_is_served(full_run):
    check_served_as_evaluated(full_run.folder)
