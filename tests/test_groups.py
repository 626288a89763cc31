"""Tests of one xdist_group run in one process, so that they share the fixtures of their module."""

import os
import subprocess
import sys

GROUPED = """
import os
import pytest

pytestmark = pytest.mark.xdist_group("one")

@pytest.mark.parametrize("number", range(6))
def test_notes_its_process(number, request):
    (request.path.parent / f"{number}.{os.getpid()}").touch()
"""


def test_a_group_runs_in_one_process(tmp_path):
    (tmp_path / "test_grouped.py").write_text(GROUPED)
    options = ["-p", "xdist", "-n", "2", "--dist", "loadgroup", "-c", os.devnull, "--rootdir", "."]
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    outer["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    subprocess.run([sys.executable, "-m", "pytest", *options, "."], cwd=tmp_path, env=outer, check=True, capture_output=True)
    notes = [path.name.split(".") for path in tmp_path.glob("[0-9].*")]
    assert sorted(number for number, _ in notes) == list("012345")
    assert len({process for _, process in notes}) == 1
