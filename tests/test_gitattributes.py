import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="these files are not in git")
def test_files_have_the_same_bytes_where_git_is_set_to_other_line_ends(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "-c", "core.autocrlf=true", "-c", "core.eol=crlf", ROOT, clone], check=True)
    done = subprocess.run(["git", "ls-files", "--eol"], cwd=clone, check=True, capture_output=True, text=True)
    kinds = {tuple(line.split()[:2]) for line in done.stdout.splitlines()}
    assert kinds == {("i/lf", "w/lf"), ("i/-text", "w/-text"), ("i/none", "w/none")}
