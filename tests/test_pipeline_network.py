"""All stages in sequence, with the last blocks of the network trained: killed, resumed, and served as evaluated."""

import signal
import time

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import ClassifierDescription, Metrics
from pipeline.files import read_json
from tests.pipeline_runs import Repository, check_calibrated, check_served_as_evaluated, clips, weights  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]


@pytest.fixture(scope="module")
def full_run(tmp_path_factory, clips, weights) -> Repository:
    """The last blocks are trained, with a SIGKILL and a second run."""
    options = ("finetune=last_blocks", "finetune.epochs=3", "speed.checkpoint_minutes=0.00001")
    folder = tmp_path_factory.mktemp("full")
    repository = Repository(folder, f"data.folder={clips}", f"model.weights={weights}", *options)
    repository.run("download", "extract", "embed")
    assert read_json(folder / "data/embeddings/embed.json")["mode"] == "cached", "for the probe that the training starts from"
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


def test_the_network_is_calibrated_as_it_says(full_run):
    check_calibrated(full_run.folder)


def test_the_network_lies_between_the_probe_and_its_training(full_run):
    """On validation it is no worse than either, within a standard error; the report's metrics carry what was chosen."""
    found = ClassifierDescription.of(full_run.folder / "models/classifier")
    between = found.interpolation
    if found.best_epoch == 0:
        assert between is None
        return
    assert len(between.steps) == len(between.log_loss) == 11 and between.chosen in between.steps
    assert Metrics.read(full_run.folder / "results/metrics.json").interpolation == between
    assert found.decision.uncalibrated_log_loss == pytest.approx(between.log_loss[between.steps.index(between.chosen)], rel=1e-4)


def test_the_gain_over_the_probe_is_measured_on_the_test_clips(full_run):
    metrics = Metrics.read(full_run.folder / "results/metrics.json")
    gain = metrics.gain_over_probe
    assert metrics.test.top1 == pytest.approx(gain.probe_top1 + gain.top1)
    assert metrics.test.log_loss == pytest.approx(gain.probe_log_loss + gain.log_loss, abs=1e-6)
    if metrics.interpolation is None or metrics.interpolation.chosen == 0:  # then the classifier is the probe
        assert gain.top1 == 0 and gain.log_loss == pytest.approx(0, abs=1e-3)


def test_a_killed_and_resumed_training_is_one_mlflow_run(full_run):
    from mlflow import MlflowClient

    folder = full_run.folder
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [item for item in client.search_experiments() if item.name == "folder"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2, 3]


def test_a_killed_and_resumed_training_gives_the_results_of_an_uninterrupted_one(full_run, tmp_path):
    import tensorflow as tf

    from stages import finetune

    folder = full_run.folder
    history = pd.read_csv(folder / "results/history.csv")
    assert history["epoch"].tolist() == [0, 1, 2, 3]
    inputs = {"frames": folder / "data/frames", "embeddings": folder / "data/embeddings"}
    whole = finetune.run(full_run.params, **inputs, folder=tmp_path / "scratch", out=tmp_path / "classifier")
    timings = ["seconds", "examples_per_second"]
    np.testing.assert_allclose(
        history.drop(columns=timings), whole.drop(columns=timings), rtol=1e-6
    )  # the mean of an interrupted epoch is rounded twice
    one, other = (
        tf.train.load_checkpoint(str(classifier / "ckpt-1"))
        for classifier in (folder / "models/classifier", tmp_path / "classifier")
    )
    keys = one.get_variable_to_shape_map()
    assert set(keys) == set(other.get_variable_to_shape_map())
    assert not [key for key in keys if "optimizer" in key]
    for key in sorted(key for key in keys if key.endswith("VARIABLE_VALUE")):
        np.testing.assert_array_equal(one.get_tensor(key), other.get_tensor(key))
    description = read_json(tmp_path / "classifier/classifier.json")
    assert description == read_json(folder / "models/classifier/classifier.json")


def test_the_served_model_is_the_trained_network(full_run):
    check_served_as_evaluated(full_run.folder)
