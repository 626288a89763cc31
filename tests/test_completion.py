"""The commands of docs/completion.md, as written there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMPLETE = """
complete_line() {
  COMP_LINE="$1"; COMP_POINT=${#1}; parts=($1); COMP_CWORD=$((${#parts[@]} - 1)); COMPREPLY=()
  $(complete -p sweep | sed -E 's/.*-F ([^ ]+) .*/\\1/')
  echo "${COMPREPLY[@]}"
}
complete_line 'sweep model=a'
complete_line 'sweep finetune.learn'
"""


@pytest.mark.slow
def test_the_documented_commands_complete_groups_and_keys(tmp_path):
    once, each = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/completion.md").read_text(), re.DOTALL)
    programs = tmp_path / "bin"
    programs.mkdir()
    script = (once + each).replace(".venv/bin", str(programs)) + COMPLETE
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    models, keys = done.stdout.splitlines()
    assert {"model=a0", "model=a5_stream"} <= set(models.split()) and keys.split() == ["finetune.learning_rate="]
