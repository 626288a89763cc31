"""All stages in sequence, with a head on the frozen backbone: their outputs, and that they agree with each other.

The network is a small one, and the stages run in this process: tests/test_pipeline_network.py runs them as a user does.
"""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import Metrics, ShownClips
from pipeline.console import UserError
from pipeline.evaluation.predictions import read_predictions
from pipeline.files import read_json
from pipeline.params import parse_params
from tests.explanation.clips import NO_SUSPECTS
from tests.pipeline_runs import (
    CLASSES,
    ROOT,
    SMALL,
    Repository,
    check_calibrated,
    check_served_as_evaluated,
    clips,  # noqa: F401
    write_weights,
)
from tests.test_params import composed
from tests.tracking_store import empty_database  # noqa: F401

pytestmark = pytest.mark.xdist_group("pipeline")


@pytest.fixture(scope="module")
def head_run(tmp_path_factory, clips, empty_database) -> Iterator[Repository]:
    """The whole pipeline with a head on the frozen backbone."""
    from tests.models.movinet.small import small_variants

    with small_variants():
        weights = write_weights(tmp_path_factory.mktemp("weights"))
        options = (f"data.folder={clips}", f"model.weights={weights}", "finetune=head")
        repository = Repository(tmp_path_factory.mktemp("head"), *options)
        shutil.copy(empty_database, repository.folder / "mlflow.db")
        repository.run_here("download", "extract", "embed", "finetune", "evaluate", "export", "report")
        yield repository


def test_every_documented_file_is_written(head_run):
    folder = head_run.folder
    metrics = read_json(folder / "results/metrics.json")
    assert {"test", "validation", "decision", "baselines"} <= set(metrics) == set(Metrics.model_fields)
    assert {"top1", "top1_low", "top1_high", "top5", "macro_f1", "log_loss", "ece", "clips", "groups"} <= set(metrics["test"])
    page = (folder / "results/report/index.html").read_text()
    assert "Dark" in page and "Bright" in page
    for name in ("confusion.png", "learning_curves.png", "confusion.csv", "per_class.csv", "confused_pairs.csv"):
        assert (folder / "results/report" / name).stat().st_size > 0
    manifest = pd.read_csv(folder / "data/manifest.csv")
    assert set(manifest["split"]) == {"train", "validation", "test"}
    assert manifest.groupby("group")["split"].nunique().max() == 1


def test_clips_are_on_the_page(head_run):
    folder = head_run.folder / "results"
    content = ShownClips.read(folder / "clips/clips.json")
    page = (folder / "report/index.html").read_text()
    assert content.mistakes == [] and {strip.class_name for strip in content.strips} == set(CLASSES)
    for strip in content.strips:
        assert strip.clip in page and all((folder / "clips" / name).exists() for name in strip.files)


def test_what_predictions_depend_on_is_measured_with_the_classifier_itself(head_run, tmp_path):
    """With the labels exchanged, so that every clip counts as a mistake."""
    import tensorflow as tf

    from pipeline.explanation.explain import write_clips
    from pipeline.video.parsing import parse_clip, read_clips
    from pipeline.video.views import test_views

    folder = head_run.folder
    test = read_predictions(folder / "results/predictions.csv").of("test")
    wrong = dataclasses.replace(test, labels=1 - test.labels)
    inputs = {
        "frames": folder / "data/frames",
        "embeddings": folder / "data/embeddings",
        "classifier": folder / "models/classifier",
    }
    content = write_clips(tmp_path / "clips", wrong, NO_SUSPECTS, **inputs, occlusion_clips=2, batch=5, engine="auto")
    assert len(content.mistakes) == len(test)
    names = [folder / "data/frames" / name for name in read_json(folder / "data/frames/frames.json")["splits"]["test"]["files"]]
    frames = {clip["clip"].numpy().decode(): clip["frames"] for clip in map(parse_clip, read_clips(names))}
    loaded = tf.saved_model.load(str(folder / "models/classifier/saved_model"))
    for mistake in content.mistakes[:2]:
        row = test.clips.tolist().index(mistake.clip)
        predicted = test.predicted[row]
        assert mistake.occlusion.probability == pytest.approx(test.probabilities[row, predicted], abs=1e-5)
        assert {one.class_name for one in mistake.neighbours} == {test.classes[predicted]}
        assert len(mistake.occlusion.time) == 5, "two views of three of the six frames, one in both"
        view = test_views(frames[mistake.clip][None], head_run.params.sampling, 2)[0, :1]
        after_three = mistake.running.probabilities[2][0]
        assert mistake.running.classes[0] == test.classes[predicted] and len(mistake.running.seconds) == 6
        assert after_three == pytest.approx(loaded.probabilities(view).numpy()[0, predicted], abs=1e-3)


def test_the_head_learns_to_classify_brightness(head_run):
    assert read_json(head_run.folder / "results/metrics.json")["test"]["top1"] == 1.0
    predictions = pd.read_csv(head_run.folder / "results/predictions.csv")
    np.testing.assert_allclose(predictions.filter(like="p_").sum(axis=1), 1.0, atol=1e-5)
    assert (predictions["actual"] == predictions["clip"].str.split("/").str[0]).all()


def test_embeddings_are_the_features_of_the_views(head_run):
    import tensorflow as tf

    from pipeline.video.parsing import parse_clip, read_clips
    from pipeline.video.views import test_views

    folder = head_run.folder / "data"
    rows = pd.read_csv(folder / "embeddings/test.csv")
    features = np.load(folder / "embeddings/test.npy")
    backbone = tf.saved_model.load(str(folder / "embeddings/saved_model")).backbone
    files = [folder / "frames" / name for name in read_json(folder / "frames/frames.json")["splits"]["test"]["files"]]
    for number, clip in enumerate(map(parse_clip, read_clips(files))):
        assert clip["clip"].numpy().decode() == rows["clip"][number]
        expected = backbone.features(test_views(clip["frames"][None], head_run.params.sampling, 2)[0])
        np.testing.assert_allclose(features[number], expected, rtol=1e-4, atol=1e-5)
    assert number == len(rows) - 1 == len(features) - 1
    train = np.load(folder / "embeddings/train.npy")
    assert train.shape[1:] == (3, 480)
    assert np.abs(train[:, 0] - train[:, 1]).max() > 1e-3  # the second view is augmented


def test_the_classifier_is_calibrated_as_it_says(head_run):
    check_calibrated(head_run.folder)
    held_out = read_json(head_run.folder / "results/held_out.json")
    assert held_out["classes"] == [] and "three classes" in held_out["reason"]


@pytest.mark.slow
def test_the_temperature_is_in_the_weights_that_evaluate_and_programs_use(head_run, tmp_path):
    """With label smoothing training leaves the probabilities far from 1, so the temperature is far from 1."""
    import tensorflow as tf

    from pipeline.artifacts import ClassifierDescription
    from stages import evaluate, finetune

    folder = head_run.folder
    inputs = {"frames": folder / "data/frames", "embeddings": folder / "data/embeddings"}
    probabilities = {}
    for calibrate in ("true", "false"):
        changes = ("finetune.label_smoothing=0.5", f"finetune.calibrate={calibrate}")
        params = parse_params(composed(*SMALL, *head_run.overrides, *changes))
        out = tmp_path / calibrate
        finetune.run(params, **inputs, folder=tmp_path / f"scratch-{calibrate}", out=out)
        metrics, predictions = evaluate.run(params, **inputs, classifier=out)
        decision = ClassifierDescription.of(out).decision
        assert metrics.validation.log_loss == pytest.approx(decision.log_loss, abs=1e-5)
        assert metrics.validation.coverage == pytest.approx(decision.coverage)
        probabilities[calibrate] = predictions["test"].filter(like="p_").to_numpy(float)
        views = np.random.default_rng(1).uniform(size=(4, 3, 32, 32, 3)).astype(np.float32)
        loaded = tf.saved_model.load(str(out / "saved_model"))  # owns the variables of its functions
        probabilities[f"saved {calibrate}"] = loaded.probabilities(views).numpy()
        if calibrate == "true":
            temperature = decision.temperature
            assert temperature < 0.9 and decision.log_loss < 0.8 * decision.uncalibrated_log_loss
        else:
            assert decision.temperature == 1 and decision.log_loss == decision.uncalibrated_log_loss
    assert probabilities["true"].max(axis=1).mean() > probabilities["false"].max(axis=1).mean() + 0.01
    powers = probabilities["saved false"] ** (1 / temperature)
    np.testing.assert_allclose(probabilities["saved true"], powers / powers.sum(axis=1, keepdims=True), rtol=1e-3)


def test_baselines_are_the_classifier_on_the_same_views_in_other_orders(head_run):
    """Of two classes that differ in brightness each frame tells all; the largest class gets half of them right."""
    from mlflow import MlflowClient

    folder = head_run.folder
    found = Metrics.read(folder / "results/metrics.json").baselines
    assert found.top1_by_name() == {"largest_class": 0.5, "one_view": 1, "one_frame": 1, "shuffled": 1}
    rows = pd.read_csv(folder / "data/embeddings/reordered.csv")
    assert found.clips == len(rows) == len(pd.read_csv(folder / "data/embeddings/test.csv"))
    features = np.load(folder / "data/embeddings/reordered.npy")
    np.testing.assert_array_equal(features[:, 0], np.load(folder / "data/embeddings/test.npy")[:, 1])
    assert np.abs(features[:, 1] - features[:, 0]).max() > 1e-4 < np.abs(features[:, 2] - features[:, 0]).max()
    run = MlflowClient(f"sqlite:///{folder}/mlflow.db").get_run(read_json(folder / "results/run.json")["run_id"])
    logged = {name.partition("/")[2]: value for name, value in run.data.metrics.items() if name.startswith("baseline/")}
    assert logged == found.top1_by_name()
    assert "With one frame repeated the classifier still gets 100.0%" in (folder / "results/report/index.html").read_text()


def test_a_trained_network_gets_the_views_whose_features_are_cached_for_a_frozen_one(head_run):
    from pipeline.artifacts import ClassifierDescription
    from pipeline.evaluation.baselines import predict_reordered_features
    from pipeline.models.family import open_probabilities
    from stages import evaluate

    classifier, data = head_run.folder / "models/classifier", head_run.folder / "data"
    description = ClassifierDescription.of(classifier)
    cached = predict_reordered_features(data / "embeddings", classifier, description)
    network = open_probabilities(classifier, description, "auto")
    run = evaluate.predict_reordered_clips(data / "frames", network, head_run.params)
    assert run.labels.tolist() == cached.labels.tolist() and run.groups.tolist() == cached.groups.tolist()
    assert run.probabilities.shape == (len(run.labels), 3, 2)
    np.testing.assert_allclose(run.probabilities, cached.probabilities, atol=1e-5)


def test_a_probe_sees_the_projection_with_which_training_started(head_run):
    from pipeline.artifacts import ClassifierDescription
    from pipeline.models.family import probe_features
    from pipeline.models.movinet.network.activations import ACTIVATIONS
    from pipeline.models.movinet.network.saved_head import read_head

    folder = head_run.folder
    initial = read_head(folder / "data/embeddings/ckpt-1")
    assert np.abs(read_head(folder / "models/classifier/ckpt-1").projection - initial.projection).max() > 1e-4
    description = ClassifierDescription.of(folder / "models/classifier")
    features = np.load(folder / "data/embeddings/test.npy")[:, 0]
    found = probe_features(folder / "data/embeddings", description, features, None)
    expected = ACTIVATIONS[description.activation](features @ initial.projection + initial.projection_bias)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_saved_model_gives_the_probabilities_of_evaluation(head_run):
    check_served_as_evaluated(head_run.folder)


@pytest.mark.slow
def test_the_notebook_walks_through_the_run(head_run, tmp_path, monkeypatch):
    """Compared with a run that has four test clips of each class wrong."""
    import jupytext
    from nbclient import NotebookClient

    predictions = pd.read_csv(head_run.folder / "results/predictions.csv")
    wrong = predictions[predictions["split"] == "test"].groupby("actual").head(4).index
    columns = ["p_Bright", "p_Dark"]
    is_dark = (predictions.loc[wrong, "actual"] == "Dark").to_numpy()
    predictions.loc[wrong, columns] = np.column_stack([0.25 + 0.5 * is_dark, 0.75 - 0.5 * is_dark])
    predictions.loc[wrong, "predicted"] = np.where(is_dark, "Bright", "Dark")
    (tmp_path / "other").mkdir()
    predictions.to_csv(tmp_path / "other/predictions.csv", index=False)
    for name, value in head_run.environment().items():
        monkeypatch.setenv(name, value)
    notebook = jupytext.read(ROOT / "notebooks/finished_run.py")
    (chosen,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    chosen.source = f"OTHER = {str(tmp_path / 'other')!r}"
    # The notebook's process has to know how small the network is, too.
    chosen.source += "\nfrom pipeline.models.movinet.network import folded\nfolded._GROUPS['a0'] = (1, 1, 2)"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(head_run.folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert "workspace against other is" in printed and "is a clip of Bright" in printed
    metrics = Metrics.read(head_run.folder / "results/metrics.json")
    tables = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert f"{metrics.test.top1:.1%}" in tables[0] and any("one frame repeated" in table for table in tables)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3


@pytest.mark.slow
def test_the_checkpoint_restores_in_the_published_layout(head_run):
    import tensorflow as tf

    from pipeline.models.movinet.network.build import build_backbone, build_classifier
    from pipeline.models.movinet.network.variants import VARIANTS
    from pipeline.models.movinet.network.weights.checkpoints import restore

    folder = head_run.folder
    variant = VARIANTS["a0_stream"]
    classifier = build_classifier(variant, build_backbone(variant), 2)
    restore(classifier, folder / "models/classifier/ckpt-1", "mine")
    views = tf.random.uniform([2, 3, 32, 32, 3], seed=1)
    saved = tf.saved_model.load(str(folder / "models/classifier/saved_model"))
    expected = tf.nn.softmax(classifier({"image": views}, training=False))
    np.testing.assert_allclose(saved.probabilities(views), expected, atol=1e-5)


@pytest.mark.slow
def test_the_registered_model_gives_the_same_probabilities_in_another_process(head_run):
    """Loaded by its alias, in a process without access to this project."""
    code = """
import json, sys
import mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/folder-a0_stream@latest")
print(json.dumps(model.predict(np.load(sys.argv[2])).iloc[0].to_dict()))
"""
    from pipeline.video.parsing import parse_clip, read_clips

    folder = head_run.folder
    files = [folder / "data/frames" / name for name in read_json(folder / "data/frames/frames.json")["splits"]["test"]["files"]]
    clip = parse_clip(next(iter(read_clips(files))))
    np.save(folder / "clip.npy", clip["frames"].numpy()[None])
    command = [sys.executable, "-c", code, f"sqlite:///{folder}/mlflow.db", str(folder / "clip.npy")]
    environment = {key: value for key, value in head_run.environment().items() if key != "PYTHONPATH"}
    result = subprocess.run(
        command, cwd=folder / "data", env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    answer = json.loads(result.stdout.splitlines()[-1])
    row = pd.read_csv(folder / "results/predictions.csv").set_index("clip").loc[clip["clip"].numpy().decode()]
    for name in CLASSES:
        assert answer[name] == pytest.approx(row[f"p_{name}"], abs=1e-5)


def test_one_mlflow_run_has_the_results_of_all_stages(head_run):
    from mlflow import MlflowClient

    folder = head_run.folder
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [item for item in client.search_experiments() if item.name == "folder"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == read_json(folder / "models/run.json")["run_id"] == read_json(folder / "results/run.json")["run_id"]
    assert run.info.status == "FINISHED"
    metrics = read_json(folder / "results/metrics.json")
    assert run.data.metrics["test/top1"] == metrics["test"]["top1"]
    history = client.get_metric_history(run.info.run_id, "validation/loss")
    assert [point.step for point in history] == list(range(1, head_run.params.finetune.epochs + 1))
    assert run.data.params["finetune.learning_rate"] == "0.001"
    names = {item.path for item in client.list_artifacts(run.info.run_id, "report")}
    assert {"report/index.html", "report/confusion.png"} <= names
    assert len(run.inputs.dataset_inputs) == 3


@pytest.mark.slow
def test_embedding_resumes_after_a_kill(tmp_path, head_run, monkeypatch):
    """Killed in its fourth batch, it computes only the remaining views, and the result is the same."""
    from pipeline.engines.openvino_network import OpenvinoNetwork
    from pipeline.models.movinet.backbone import MovinetBackbone
    from stages import embed

    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    calls, built = [], []
    compute, save = OpenvinoNetwork.__call__, MovinetBackbone.save

    def limited(self, views):
        calls.append(len(views))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return compute(self, views)

    monkeypatch.setattr(OpenvinoNetwork, "__call__", limited)
    monkeypatch.setattr(MovinetBackbone, "save", lambda self, *given: built.append(1) or save(self, *given))
    frames = head_run.folder / "data/frames"
    with pytest.raises(KeyboardInterrupt):
        embed.run(head_run.params, frames, tmp_path / "embeddings")
    assert not (tmp_path / "embeddings").exists()
    embed.run(head_run.params, frames, tmp_path / "embeddings")
    total = sum(np.load(tmp_path / f"embeddings/{split}.npy").shape[0] for split in ("train", "validation", "test"))
    views = [np.load(tmp_path / f"embeddings/{split}.npy").shape[1] for split in ("train", "validation", "test")]
    assert total == 24 and views == [3, 2, 2]
    batch = head_run.params.speed.inference_batch
    shapes = [np.load(tmp_path / f"embeddings/{split}.npy").shape[:2] for split in ("train", "validation", "test")]
    reordered = np.load(tmp_path / "embeddings/reordered.npy").shape
    shapes.append((reordered[0], reordered[1] - 1))  # the view as it is was computed with the test split
    batches = sum(-(-np.prod(shape) // batch) for shape in shapes)
    assert set(calls) == {batch}
    assert len(calls) == batches + 1  # only the interrupted batch is computed twice
    assert len(built) == 1
    for split in ("train", "validation", "test"):
        resumed, uninterrupted = (
            np.load(folder / f"{split}.npy") for folder in (tmp_path / "embeddings", head_run.folder / "data/embeddings")
        )
        np.testing.assert_allclose(resumed, uninterrupted, rtol=1e-4, atol=1e-5)


def test_a_classifier_made_with_other_parameters_is_an_error(head_run):
    from stages import evaluate, finetune

    folder = head_run.folder
    inputs = {"frames": folder / "data/frames", "embeddings": folder / "data/embeddings"}
    full = parse_params(composed(*SMALL, *head_run.overrides, "finetune=full", "finetune.start=new"))
    with pytest.raises(UserError, match=r"not made for finetune\.trainable=full"):
        finetune.run(full, **inputs, out=folder / "elsewhere", folder=folder / "scratch")
    assert not (folder / "elsewhere").exists()
    other = parse_params(composed(*SMALL, *head_run.overrides, "frames.count=4"))
    with pytest.raises(UserError, match="made with count 3, but now it is 4"):
        evaluate.run(other, **inputs, classifier=folder / "models/classifier")


def test_predictions_are_grouped_by_split(head_run):
    from stages import evaluate

    folder = head_run.folder
    inputs = {"frames": folder / "data/frames", "embeddings": folder / "data/embeddings"}
    metrics, predictions = evaluate.run(head_run.params, **inputs, classifier=folder / "models/classifier")
    written = pd.read_csv(folder / "results/predictions.csv")
    assert set(predictions) == {"test", "validation"}
    for split, rows in predictions.items():
        assert set(rows["split"]) == {split} and len(rows) == getattr(metrics, split).clips
        assert list(rows["clip"]) == list(written.loc[written["split"] == split, "clip"])


@pytest.mark.slow
def test_later_exports_log_to_the_run_of_training(head_run, tmp_path):
    from mlflow import MlflowClient

    folder = tmp_path / "later"
    shutil.copytree(head_run.folder, folder)
    later = Repository(folder, *head_run.overrides)
    for formats in ("[float32]", "[float32,float16]"):
        later.configure(*head_run.overrides, f"export.formats={formats}")
        later.run_here("export", "report")
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (run,) = client.search_runs([found.experiment_id for found in client.search_experiments()])
    assert run.info.run_id == read_json(folder / "models/run.json")["run_id"]
    assert run.data.metrics.keys() >= {"train/loss", "test/top1", "export/float32/test_top1", "export/float16/test_top1"}
    assert run.data.tags["export.formats"] == '["float32", "float16"]'
    page = (folder / "results/report/index.html").read_text()
    assert run.info.run_id in page and "float16.tflite" in page
    assert "The classifier was trained with the following, and so was this report." in page
