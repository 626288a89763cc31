"""What MLflow's pages say of an evaluated run, of its model and of the registered version: scores, data, code, how to get it.

Invariant: a description that somebody wrote by hand is kept; those written here start with START.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts import Metrics, Scores
from pipeline.console import uninterrupted
from pipeline.tracking.lookup import RESTORED_FROM, find_model
from pipeline.tracking.provenance import is_of_split
from pipeline.tracking.runs import Run
from pipeline.tracking.store import readable_errors

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion

START = "**Test top-1 "
NOTE = "mlflow.note.content"  # the tag of a run's description
LENGTH = 5000  # of a description, as PostgreSQL keeps it (mlflow.store.model_registry.dbmodels)


def describe(run: Run, metrics: Metrics) -> None:
    """Describes the evaluated run, its model and the model's registered versions. A later evaluation replaces an earlier one."""
    with uninterrupted(), readable_errors(run.tracking_uri):
        stored = run.client.get_run(run.run_id)
        model = find_model(run.client, stored)
        versions = _versions(run, model)
        facts = score_tags(stored, metrics)
        text = _summary(stored, metrics, model, versions)
        _write(run, stored, model, versions, text)
        if model is not None:
            run.client.set_logged_model_tags(model.model_id, facts)
        for version in versions:
            for key, value in facts.items():
                run.client.set_model_version_tag(version.name, version.version, key, value)


def add_model_card(run: Run, card: Path) -> None:
    """Adds a model card (Markdown) to the model as a file, and to the descriptions that `describe` wrote."""
    with uninterrupted(), readable_errors(run.tracking_uri):
        stored = run.client.get_run(run.run_id)
        model = find_model(run.client, stored)
        if model is not None:
            run.client.log_model_artifact(model.model_id, str(card))
        summary = stored.data.tags.get(NOTE, "").partition("\n\n---\n\n")[0]
        if summary.startswith(START):
            body = _without_header(card.read_text(encoding="utf-8"))
            _write(run, stored, model, _versions(run, model), f"{summary}\n\n---\n\n{body}")


def score_tags(stored: "MlflowRun", metrics: Metrics) -> dict[str, str]:
    """Tags of a model and its versions: test scores, and what they come from."""
    tags = {"top1": _interval(metrics.test), "log_loss": f"{metrics.test.log_loss:.3f}", "evaluated_by": stored.info.run_id}
    for data in stored.inputs.dataset_inputs:
        tags["data"] = data.dataset.name
        for split in ("train", "validation", "test"):
            if is_of_split(data, split):
                tags[f"data.{split}"] = data.dataset.digest
    for tag, source in (("commit", "mlflow.source.git.commit"), ("dvc.exp.name", "dvc.exp.name"), ("git.dirty", "git.dirty")):
        if source in stored.data.tags:
            tags[tag] = stored.data.tags[source]
    return tags


def _versions(run: Run, model: "LoggedModel | None") -> list["ModelVersion"]:
    """The registered versions of a model."""
    if model is None:
        return []
    found = run.client.search_model_versions(f"run_id = '{model.source_run_id}'")
    return [version for version in found if model.model_id in (version.model_id, version.source.removeprefix("models:/"))]


def _summary(stored: "MlflowRun", metrics: Metrics, model: "LoggedModel | None", versions: list["ModelVersion"]) -> str:
    test, tags = metrics.test, stored.data.tags
    lines = [
        f"{START}{_interval(test)}**, log loss {test.log_loss:.3f}, on {test.clips} clips of {test.groups} groups."
        + (f" Validation top-1 {metrics.validation.top1:.3f}." if metrics.validation is not None else "")
    ]
    addresses = [f"`models:/{version.name}/{version.version}`" for version in versions]
    addresses += [f"`models:/{model.model_id}`"] if model is not None and not versions else []
    if addresses:
        lines += [f"- Load it: `mlflow.pyfunc.load_model` of {' or '.join(addresses)}"]
    if RESTORED_FROM in tags:
        lines += [f"- Restored from DVC's cache: run `{tags[RESTORED_FROM]}` trained it, on another store"]
    if "dvc.exp.name" in tags:
        lines += [f"- Get its files and settings: `dvc exp apply {tags['dvc.exp.name']}`"]
    if "mlflow.source.git.commit" in tags:
        changed = " with changes" if tags.get("git.dirty") == "true" else ""
        lines += [f"- Code: commit `{tags['mlflow.source.git.commit'][:12]}`{changed}"]
    for data in stored.inputs.dataset_inputs:
        if is_of_split(data, "test"):
            lines += [f"- Data: {data.dataset.name}, digest of the test clips `{data.dataset.digest}`"]
    return "\n".join([lines[0], "", *lines[1:]]).rstrip()


def _interval(test: Scores) -> str:
    return f"{test.top1:.3f}" if test.top1_low is None else f"{test.top1:.3f} ({test.top1_low:.3f} to {test.top1_high:.3f})"


def _write(run: Run, stored: "MlflowRun", model: "LoggedModel | None", versions: list["ModelVersion"], text: str) -> None:
    if len(text) > LENGTH:
        end = "\n\n(The rest is in model_card.md of the model.)"
        text = text[: LENGTH - len(end)].rpartition("\n")[0] + end
    if stored.data.tags.get(NOTE, START).startswith(START):
        run.client.set_tag(run.run_id, NOTE, text)
    if model is not None and model.tags.get(NOTE, START).startswith(START):
        run.client.set_logged_model_tags(model.model_id, {NOTE: text})
    for version in versions:
        if (version.description or START).startswith(START):
            run.client.update_model_version(version.name, version.version, text)


def _without_header(card: str) -> str:
    """A model card without the header for hubs, and with smaller headings."""
    body = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)
    return re.sub(r"^#", "##", body, flags=re.MULTILINE).strip()
