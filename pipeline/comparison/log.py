"""A comparison in MLflow: a run of its own, so that the runs compared stay as they are.

Invariants: the same comparison of the same predictions is one run, however often it is made.
"""

import hashlib
from pathlib import Path

from pipeline.comparison.compare import Comparison
from pipeline.files import content_key

KEY = "comparison.key"
EXPERIMENT = "comparisons"  # of models whose own experiment is not known


def log_comparison(comparison: Comparison, name: str, folder: Path) -> str:
    """Logs the folder as artifact `comparison`, and scores and differences as metrics; returns the run's id.

    The run is in the experiment of the first model.
    """
    from pipeline.tracking.runs import Run
    from pipeline.tracking.store import experiment_id, open_client, readable_errors

    client, key = open_client(), _key(comparison)
    experiment = comparison.models[0].experiment or EXPERIMENT
    with readable_errors(client.tracking_uri):
        number = experiment_id(client, experiment)
        found = client.search_runs([number], f"tags.`{KEY}` = '{key}'", max_results=1)
        made = found[0] if found else client.create_run(number, run_name=name, tags={"mlflow.source.name": "commands.compare"})
    run = Run(made.info.run_id, name, experiment, client.tracking_uri, "continued" if found else "begun", client)
    run.log_artifacts(folder, "comparison")
    run.log_metrics(_metrics(comparison))
    models = {f"comparison.model.{number}": model.label for number, model in enumerate(comparison.models, start=1)}
    run.set_tags({"comparison.split": comparison.shared.split, **models, KEY: key})
    with readable_errors(client.tracking_uri):
        client.set_terminated(run.run_id, "FINISHED")
    return run.run_id


def _key(comparison: Comparison) -> str:
    shared = comparison.shared
    models = [
        (model.label, hashlib.sha256(probabilities.tobytes()).hexdigest())
        for model, probabilities in zip(comparison.models, shared.probabilities, strict=True)
    ]
    return content_key(shared.split, shared.clips.tolist(), models, comparison.resampling._asdict(), comparison.all_pairs)


def _metrics(comparison: Comparison) -> dict:
    models = comparison.models
    scores = {
        model.label: {"top1": of.accuracy.value, "log_loss": of.log_loss.value}
        for model, of in zip(models, comparison.scores, strict=True)
    }
    differences = {
        f"{models[pair.second].label} - {models[pair.first].label}": {
            "top1": pair.accuracy.value,
            "top1_low": pair.accuracy.low,
            "top1_high": pair.accuracy.high,
            "log_loss": pair.log_loss.value,
            "p_by_group": pair.by_group_holm,
        }
        for pair in comparison.pairs
    }
    return {"scores": scores, "difference": differences}
