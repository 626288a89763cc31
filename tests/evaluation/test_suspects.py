"""The file of suspects: what is written is read, class names are text, and another file is one clear line."""

import pandas as pd
import pytest

from pipeline.console import UserError
from pipeline.evaluation.suspects import COLUMNS, read_suspects, write_suspects


def test_what_is_written_is_read_and_names_are_text(tmp_path):
    row = ["NA/1.avi", "NA/1.avi", "1.avi", "test", "007", "NA", "1", 0.25, 0.5, 0.375]
    suspects = pd.DataFrame([row], columns=COLUMNS)
    write_suspects(tmp_path / "suspects.csv", suspects.assign(more=1))
    assert read_suspects(tmp_path / "suspects.csv").to_numpy().tolist() == [row]


def test_without_suspects_there_is_only_the_header(tmp_path):
    write_suspects(tmp_path / "suspects.csv", pd.DataFrame(columns=COLUMNS))
    assert (tmp_path / "suspects.csv").read_text(encoding="utf-8").strip() == ",".join(COLUMNS)
    assert read_suspects(tmp_path / "suspects.csv").empty


@pytest.mark.parametrize(("content", "problem"), [("", "not a readable"), ("clip,file\n", "lacks a column"), (None, "not found")])
def test_another_file_is_a_clear_line(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "suspects.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"suspects.csv: {problem}"):
        read_suspects(tmp_path / "suspects.csv")
