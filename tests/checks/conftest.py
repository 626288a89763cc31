"""A repository for each test of a check: a copy of conf/, params.yaml, and no environment variables that point elsewhere."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.params import Params, parse_params
from tests.test_params import composed

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def conf(workspace) -> Path:
    shutil.copytree(ROOT / "conf", workspace / "conf")
    return workspace / "conf"


def write_params(*overrides: str, **changes) -> dict:
    """Writes params.yaml as composed with `overrides`, then keys changed (dots as double underscores)."""
    content = composed(*overrides)
    for key, value in changes.items():
        section = content
        *parents, last = key.split("__")
        for parent in parents:
            section = section[parent]
        section[last] = value
    Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return content


def params_of(*overrides: str, **changes) -> Params:
    return parse_params(write_params(*overrides, **changes))
