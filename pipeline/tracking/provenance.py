"""The provenance of a run: code, DVC experiment, software, parameters, data."""

import getpass
import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts import CODE, MANIFEST
from pipeline.console import UserError, say, without_credentials
from pipeline.files import content_key, repository_root
from pipeline.git import query_git, repository_error
from pipeline.params import Params

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

PARAM_LENGTH = 6000  # of a parameter's value, as MLflow stores it (mlflow.utils.validation)
PARENT_VARIABLE = "MOVINET_PARENT_RUN_ID"  # holds a sweep's run, under which the stages of its trials create theirs
CONTEXT = "mlflow.data.context"  # tag of a data set: its split
# What decides the results apart from params.yaml, which DVC rewrites and the run logs anyway.
RECORDED = (*CODE, "conf", "dvc.yaml", "pyproject.toml", "requirements.lock")


def flatten(content: dict[str, Any], separator: str = ".") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by `separator`; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and value:
            flat |= {f"{key}{separator}{name}": item for name, item in flatten(value, separator).items()}
        else:
            flat[str(key)] = value
    return flat


def param_values(params: Params) -> dict[str, str]:
    """Every parameter as MLflow stores it: dotted name to text (null, true, numbers and lists as JSON; words as they are)."""
    return {
        mlflow_name(name): without_credentials(value) if isinstance(value, str) else json.dumps(value)
        for name, value in flatten(params.model_dump()).items()
    }


def mlflow_name(name: str) -> str:
    """`name` with what MLflow refuses in names of parameters and metrics (a class may be called anything) as underscores."""
    return re.sub(r"[^/\w.\- ]", "_", name)


def run_tags(params: Params, stage: str) -> dict[str, str]:
    """Tags of a new run. Names that start with `mlflow.` are those that MLflow's pages show."""
    tags = {
        "mlflow.source.name": f"stages.{stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        "model": params.model.id,
        "trainable": params.finetune.trainable,
        "data": params.data.name,
        "python": platform.python_version(),
        "tensorflow": metadata.version("tensorflow"),
    }
    for tag, variable in (
        ("dvc.exp.name", "DVC_EXP_NAME"),
        ("dvc.exp.baseline", "DVC_EXP_BASELINE_REV"),
        ("mlflow.parentRunId", PARENT_VARIABLE),
    ):
        if os.environ.get(variable):
            tags[tag] = os.environ[variable]
    commit, changed = code_state()
    if commit is None:
        error = repository_error(repository_root())
        if error is not None and error.kind != "repository":
            say(f"the run does not record its commit: {error}")
    return tags if commit is None else tags | {"mlflow.source.git.commit": commit, "git.dirty": "true" if changed else "false"}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())


def code_state() -> tuple[str | None, bool | None]:
    """The commit of the code that runs, and whether that code differs from it; None and None outside git.

    DVC runs experiments in temporary clones, so the current directory comes first and the original repository second.
    """
    for folder in (Path.cwd(), repository_root()):
        commit = query_git("rev-parse", "HEAD", folder=folder)
        if commit:
            return commit, bool(query_git("status", "--porcelain", "--", *RECORDED, folder=folder))
    return None, None


def is_of_split(data: "DatasetInput", split: str) -> bool:
    return any(tag.key == CONTEXT and tag.value == split for tag in data.tags)


def data_inputs(params: Params, manifest: Path = MANIFEST) -> list["DatasetInput"]:
    """The manifest's parts as MLflow data sets with contexts train, validation and test.

    The digest follows from the clips' content, labels and part, so equal data has an equal digest wherever it is stored.
    """
    import mlflow.data
    import pandas as pd
    from mlflow.data.http_dataset_source import HTTPDatasetSource
    from mlflow.entities import Dataset, DatasetInput, InputTag

    text = dict.fromkeys(
        ("clip", "file", "start", "end", "class", "group", "split", "source", "duplicate_of", "sha256"), str
    )  # a class may be called NA or 001
    try:
        table = pd.read_csv(manifest, dtype=text, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{manifest}: not found", advice="run `dvc repro download`, which makes it") from None
    origin = params.data.archive or params.data.folder
    remote = origin.startswith(("http://", "https://"))
    source = HTTPDatasetSource(without_credentials(origin)) if remote else str(repository_root() / origin)
    inputs = []
    for split in ("train", "validation", "test"):
        part = table[table["split"] == split]
        if part.empty:
            continue
        digest = content_key(part[["clip", "class", "label", "split", "sha256"]].to_dict("records"))
        described = mlflow.data.from_pandas(part, source=source, targets="class", name=params.data.name, digest=digest)
        inputs.append(DatasetInput(Dataset(**described.to_dict()), tags=[InputTag(CONTEXT, split)]))
    return inputs
