"""Class names in a text file, one a line, for models that do not carry them."""

from pathlib import Path

from pipeline.console import UserError

ADVICE = "it should hold one class a line, in the order of the model's outputs"


def read_labels(path: Path) -> list[str]:
    """The names in a text file, one a line; a blank line is an error, as it would shift all that follow.

    Raises:
      UserError: cannot be read, is not UTF-8 text (a byte order mark may be there), is empty, or has a blank line.
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
