"""Reads and writes results/suspects.csv: the clips whose label may be wrong, the most suspect first."""

from pathlib import Path

import pandas as pd

from pipeline.console import UserError
from pipeline.files import atomic_file

# file: below data/clips. source: path in the archive or folder. given: the class of its label. p_given, p_suggested:
# probabilities of the two classes by a model that did not see the clip's group. quality: of the label, from 0 to 1.
_TEXT = ("clip", "file", "source", "split", "group", "given", "suggested")
_NUMBERS = ("p_given", "p_suggested", "quality")
COLUMNS = [*_TEXT, *_NUMBERS]
_ADVICE = "run `dvc repro evaluate`, which makes it again"


def write_suspects(path: Path, suspects: pd.DataFrame) -> None:
    """Writes a table with the columns COLUMNS, whole or not at all."""
    with atomic_file(path) as part:
        suspects[COLUMNS].to_csv(part, index=False)


def read_suspects(path: Path) -> pd.DataFrame:
    """Reads what `write_suspects` wrote. Raises UserError naming the file and the problem."""
    try:
        suspects = pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False)
        return suspects[COLUMNS].astype(dict.fromkeys(_NUMBERS, float))
    except FileNotFoundError:
        raise UserError(f"{path}: not found", advice=_ADVICE) from None
    except KeyError as error:
        raise UserError(f"{path}: lacks a column ({error.args[0]})", advice=_ADVICE) from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, ValueError) as error:
        message = f"{path}: not a readable CSV file ({' '.join(str(error).split())})"
        raise UserError(message, advice=_ADVICE) from None
