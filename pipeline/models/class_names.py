"""Reads class names from a text file, for models that do not contain them."""

from pathlib import Path

from pipeline.console import UserError

ADVICE = "write one class per line, in the order of the model's outputs"


def read_labels(path: Path) -> list[str]:
    """Returns the names in a text file with one name per line.

    Raises:
      UserError: the file cannot be read, is not UTF-8 (with or without a byte order mark), is empty, or has a blank line, which
        would shift the names after it.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"--labels {path}: cannot be read ({reason})", advice=ADVICE) from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise UserError(f"--labels {path}: is empty", advice=ADVICE)
    if "" in names:
        raise UserError(f"--labels {path}: line {names.index('') + 1} is blank", advice=ADVICE)
    return names
