"""The page of MLflow's interface that shows an experiment's runs as a table: best validation accuracy first, with useful columns.

MLflow 3 opens in a mode for language models, which shows traces and no runs. The address chooses the other mode, and names a view
that is kept as a tag of the experiment, as the interface's own "Share" keeps it (seen in MLflow 3.17).
"""

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

KEY = "pipeline"  # names the view in addresses
TAG = f"mlflow.sharedViewState.{KEY}"
MODE = {"workflowType": "machine_learning"}
METRICS = ("validation/top1", "test/top1", "test/macro_f1", "test/log_loss")
PARAMS = ("model.id", "finetune.trainable", "finetune.learning_rate", "frames.size", "frames.count")


def latest_experiments(client: "MlflowClient", most: int) -> list["Experiment"]:
    """The active experiments that have runs, that with the latest run first."""
    latest = []
    for experiment in client.search_experiments():
        runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=1)
        latest += [(runs[0].info.start_time, experiment)] if runs else []
    latest.sort(key=lambda pair: pair[0], reverse=True)
    return [experiment for _, experiment in latest[:most]]


def add_view(client: "MlflowClient", experiment: "Experiment") -> None:
    """Adds the view to the experiment, unless it has one, which the user may have changed."""
    if TAG in experiment.tags:
        return
    columns = [*(f"metrics.`{name}`" for name in METRICS), *(f"params.`{name}`" for name in PARAMS)]
    state = {
        "orderByKey": columns[0],
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": columns,
    }
    created = experiment.creation_time
    view = {"name": "Best validation accuracy first", "createdAt": created, "updatedAt": created, "state": json.dumps(state)}
    client.set_experiment_tag(experiment.experiment_id, TAG, json.dumps(view))


def runs_address(server: str, experiment: "Experiment") -> str:
    """The address of the view at a server's address."""
    return f"{server.rstrip('/')}/#/experiments/{experiment.experiment_id}/runs?{urlencode(MODE | {'viewStateShareKey': KEY})}"


def experiments_address(server: str) -> str:
    """The address of the list of all experiments."""
    return f"{server.rstrip('/')}/#/experiments?{urlencode(MODE)}"
