import os
import sys

import pytest

from commands import ui
from pipeline.console import UserError
from pipeline.inference.formats import open_model
from pipeline.tracking.store import experiment_id, open_client
from pipeline.tracking.views import TAG, add_view, latest_experiments
from tests.tracking_store import composed, empty_database, place, store  # noqa: F401


def run_ui(monkeypatch, *arguments: str) -> list[tuple]:
    """Runs the command up to where MLflow would replace this process; returns its program, arguments and environment."""
    started = []
    monkeypatch.setattr(sys, "argv", ["ui", *arguments])
    monkeypatch.setattr(os, "execve", lambda *command: started.append(command))
    ui.main()
    return started


def test_a_folder_without_runs_is_refused_and_left_as_it_is(place, monkeypatch):
    before = sorted(place.iterdir())
    with pytest.raises(UserError, match=r"mlflow.db: not found.*run this in the folder of the pipeline"):
        run_ui(monkeypatch)
    assert sorted(place.iterdir()) == before
    (place / "dvc.yaml").touch()
    with pytest.raises(UserError, match="`make run` makes the first run"):
        run_ui(monkeypatch)


def test_a_model_of_the_registry_is_not_looked_for_in_a_new_database(place):
    before = sorted(place.iterdir())
    with pytest.raises(UserError, match=r"mlflow.db: not found"):
        open_model("models:/sample-a0@latest")
    assert sorted(place.iterdir()) == before


def test_it_leads_to_the_runs_of_each_experiment_the_latest_first(store, monkeypatch, capsys):
    client = open_client()
    older, newer, _ = (experiment_id(client, name) for name in ("older", "newer", "empty"))
    client.create_run(older, start_time=1000)
    client.create_run(newer, start_time=2000)
    capsys.readouterr()
    ((_, arguments, environment),) = run_ui(monkeypatch, "--port", "5050")
    assert capsys.readouterr().err.splitlines() == [
        "MLflow at http://127.0.0.1:5050/#/experiments?workflowType=machine_learning (stop with Ctrl-C)",
        f"runs of newer: http://127.0.0.1:5050/#/experiments/{newer}/runs?workflowType=machine_learning&viewStateShareKey=pipeline",
        f"runs of older: http://127.0.0.1:5050/#/experiments/{older}/runs?workflowType=machine_learning&viewStateShareKey=pipeline",
    ]
    assert arguments[1:3] == ["-m", "mlflow"] and environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{store}/mlflow.db"
    assert client.get_experiment(newer).tags.keys() == {TAG}


def test_a_view_that_the_user_changed_is_kept(store):
    client = open_client()
    number = experiment_id(client, "sample")
    client.create_run(number)
    client.set_experiment_tag(number, TAG, "mine")
    (experiment,) = latest_experiments(client, 5)
    add_view(client, experiment)
    assert client.get_experiment(number).tags[TAG] == "mine"


def test_a_servers_address_is_printed_without_credentials(place, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.tracking.configure", lambda: "https://anna:secret@host:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://anna:secret@host:5000")
    assert run_ui(monkeypatch) == []
    said = capsys.readouterr().err
    assert "https://host:5000/#/experiments?workflowType=machine_learning" in said and "secret" not in said
