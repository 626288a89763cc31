"""The scores, tags and descriptions of logged models, of their registered versions and of their runs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow.entities import LoggedModelOutput

from pipeline.artifacts import Metrics, Scores
from pipeline.params import parse_params
from pipeline.tracking import add_model_card, begin_run, describe, stage_run
from pipeline.tracking.descriptions import LENGTH, NOTE, START
from pipeline.tracking.lookup import find_model
from tests.servers import free_port, wait_for
from tests.tracking_store import (  # noqa: F401
    RESULT_FILE,
    RUN_FILE,
    composed,
    empty_database,
    history,
    params,
    place,
    run_python,
    store,
    stored,
)

CARD = "---\ntags: [video]\n---\n\n# sample-a0\n\nClassifies clips.\n\n## Limits\n\nIt has some.\n"


def scores(top1):
    interval = dict.fromkeys(("top5_low", "top5_high", "macro_f1_low", "macro_f1_high"))
    known = {"top5": 1.0, "macro_f1": top1, "log_loss": 0.4567, "ece": 0.1, "clips": 8, "groups": 4}
    return Scores(top1=top1, top1_low=top1 - 0.125, top1_high=top1 + 0.125, **known, **interval)


def train(params, ready=True):
    """Finetune's run with a model that is registered, as `log_classifier` leaves it; returns both."""
    with begin_run(params, RUN_FILE) as run:
        run.log_history(history(2))
        experiment = stored(run).info.experiment_id
        model = run.client.create_logged_model(experiment, name="classifier", source_run_id=run.run_id)
        run.client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=2)])
        if ready:
            run.client.finalize_logged_model(model.model_id, "READY")
    return run, model


def register(run, model):
    run.client.create_registered_model("sample-a0")
    return run.client.create_model_version("sample-a0", f"models:/{model.model_id}", run.run_id, model_id=model.model_id)


def evaluate(params, top1):
    metrics = Metrics(test=scores(top1), validation=scores(0.25))
    with stage_run(params, "evaluate", RUN_FILE, RESULT_FILE) as run:
        run.log_scores("test", {"test": {"top1": top1}})
        run.log_scores("validation", {"validation": {"top1": 0.25}})
        describe(run, metrics)
    return run


def test_models_are_ranked_by_their_test_scores(params, store):
    models = {}
    for top1 in (0.5, 0.75, 0.25):
        run, model = train(params)
        models[top1] = model.model_id
        evaluate(params, top1)
    experiment = stored(run).info.experiment_id
    found = run.client.search_logged_models([experiment], order_by=[{"field_name": "metrics.test/top1", "ascending": False}])
    assert [model.model_id for model in found] == [models[top1] for top1 in (0.75, 0.5, 0.25)]
    better = run.client.search_logged_models([experiment], "metrics.`test/top1` > 0.4")
    assert {model.model_id for model in better} == {models[0.75], models[0.5]}


def test_a_models_metrics_name_the_data_set_of_their_split(params, store):
    run, model = train(params)
    evaluate(params, 0.5)
    digests = {item.tags[0].value: item.dataset.digest for item in stored(run).inputs.dataset_inputs}
    metrics = {metric.key: metric for metric in run.client.get_logged_model(model.model_id).metrics}
    assert {name: metric.value for name, metric in metrics.items()} == {
        "accuracy/test_top1": 0.5,
        "test/top1": 0.5,
        "accuracy/validation_top1": 0.25,
        "validation/top1": 0.25,
    }
    for split in ("test", "validation"):
        metric = metrics[f"{split}/top1"]
        assert (metric.dataset_name, metric.dataset_digest) == ("sample", digests[split])
        assert metric.run_id == run.run_id


def test_a_second_evaluation_scores_the_same_model(composed, params, store):
    run, model = train(params)
    evaluate(params, 0.5)
    second = evaluate(parse_params(composed | {"evaluate": composed["evaluate"] | {"views": 7}}), 0.75)
    assert second.run_id != run.run_id
    by_run = {
        metric.run_id: metric.value for metric in run.client.get_logged_model(model.model_id).metrics if metric.key == "test/top1"
    }
    assert by_run == {run.run_id: 0.5, second.run_id: 0.75}


def test_a_model_that_was_cut_off_gets_no_scores(params, store):
    run, model = train(params, ready=False)
    evaluate(params, 0.5)
    assert find_model(run.client, stored(run)) is None
    assert not run.client.get_logged_model(model.model_id).metrics
    assert stored(run).data.metrics["test/top1"] == 0.5


def test_a_deleted_model_is_not_looked_for(params, store):
    run, model = train(params)
    run.client.delete_logged_model(model.model_id)
    assert stored(evaluate(params, 0.5)).data.metrics["test/top1"] == 0.5


def test_model_and_version_say_what_was_measured_on_what(params, store, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "wavy-name")
    run, model = train(params)
    version = register(run, model)
    evaluate(params, 0.5)
    digest = next(item.dataset.digest for item in stored(run).inputs.dataset_inputs if item.tags[0].value == "test")
    version = run.client.get_model_version("sample-a0", version.version)
    expected = {
        "top1": "0.500 (0.375 to 0.625)",
        "log_loss": "0.457",
        "evaluated_by": run.run_id,
        "data": "sample",
        "data.test": digest,
        "dvc.exp.name": "wavy-name",
    }
    assert version.tags.items() >= expected.items()
    assert run.client.get_logged_model(model.model_id).tags.items() >= expected.items()
    note = stored(run).data.tags[NOTE]
    assert version.description == note == run.client.get_logged_model(model.model_id).tags[NOTE]
    assert note.startswith(f"{START}0.500 (0.375 to 0.625)**, log loss 0.457, on 8 clips of 4 groups. Validation top-1 0.250.")
    for line in ("`models:/sample-a0/1`", "`dvc exp apply wavy-name`", f"`{digest}`"):
        assert line in note


def test_the_model_card_is_on_the_model_and_in_the_descriptions(params, store, tmp_path):
    run, model = train(params)
    version = register(run, model)
    evaluate(params, 0.5)
    summary = stored(run).data.tags[NOTE]
    card = tmp_path / "model_card.md"
    for text in (CARD, CARD.replace("some", "many")):  # a second report replaces the first
        card.write_text(text)
        add_model_card(run, card)
    note = stored(run).data.tags[NOTE]
    assert note == f"{summary}\n\n---\n\n## sample-a0\n\nClassifies clips.\n\n### Limits\n\nIt has many."
    assert run.client.get_model_version("sample-a0", version.version).description == note
    assert run.client.get_logged_model(model.model_id).tags[NOTE] == note
    assert (Path(model.artifact_location.removeprefix("file://")) / "model_card.md").read_text() == card.read_text()
    card.write_text(CARD + "line\n" * 5000)
    add_model_card(run, card)
    note = stored(run).data.tags[NOTE]
    assert len(note) <= LENGTH and note.startswith(summary) and "model_card.md" in note


def test_a_description_written_by_hand_is_kept(params, store, tmp_path):
    run, model = train(params)
    version = register(run, model)
    run.client.set_tag(run.run_id, NOTE, "my own words")
    run.client.update_model_version("sample-a0", version.version, "mine, too")
    evaluate(params, 0.5)
    (tmp_path / "model_card.md").write_text(CARD)
    add_model_card(run, tmp_path / "model_card.md")
    assert stored(run).data.tags[NOTE] == "my own words"
    assert run.client.get_model_version("sample-a0", version.version).description == "mine, too"


def test_an_accuracy_is_logged_before_what_the_machine_did(composed, store, monkeypatch):
    """MLflow's page that compares runs picks the first metric; and a model gets the metrics of its own epoch."""
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    params = parse_params(composed | {"tracking": composed["tracking"] | {"system_metrics": True}})
    with begin_run(params, RUN_FILE) as run:
        time.sleep(0.5)
        assert not stored(run).data.metrics
        run.log_history(history(2))
        time.sleep(0.5)
    names = list(stored(run).data.metrics)
    assert names[0] == "validation/accuracy" and "system/system_memory_usage_megabytes" in names
    points = run.client.get_metric_history(run.run_id, "system/system_memory_usage_megabytes")
    assert len({point.timestamp for point in points}) > 1 and all(point.step < 0 for point in points)


@pytest.mark.parametrize("failure", [ValueError("no such layer"), None])
def test_system_metrics_of_a_training_without_an_epoch_are_kept(composed, store, monkeypatch, failure):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    params = parse_params(composed | {"tracking": composed["tracking"] | {"system_metrics": True}})
    try:
        with begin_run(params, RUN_FILE) as run:
            time.sleep(0.5)
            if failure is not None:
                raise failure
    except ValueError as error:
        assert error is failure
    assert stored(run).data.metrics["system/system_memory_usage_megabytes"] > 0


@pytest.mark.slow
def test_a_server_ranks_and_describes_models(params, store, tmp_path, monkeypatch):
    (store / "mlflow.db").rename(tmp_path / "server.db")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path / "kept")]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen([*command, *stores], cwd=tmp_path, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, tmp_path / "log")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        (tmp_path / "model_card.md").write_text(CARD)
        models = {}
        for top1 in (0.5, 0.75):
            run, model = train(params)
            models[top1] = model.model_id
            version = register(run, model) if top1 == 0.5 else None
            evaluate(params, top1)
            add_model_card(run, tmp_path / "model_card.md")
            if version is not None:
                description = run.client.get_model_version("sample-a0", version.version).description
                assert description == stored(run).data.tags[NOTE] and description.startswith(START)
        order = [{"field_name": "metrics.test/top1", "ascending": False}]
        found = run.client.search_logged_models([stored(run).info.experiment_id], order_by=order)
        assert [model.model_id for model in found] == [models[0.75], models[0.5]]
        assert {metric.dataset_name for metric in found[0].metrics} == {"sample"}
        assert len(list((tmp_path / "kept").rglob("model_card.md"))) == 2
    finally:
        server.terminate()
        server.wait(timeout=60)
