"""What to do after an inspection: commands that can be pasted into a shell."""

import itertools
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from pipeline.settings import Data

__all__ = ["next_steps", "override"]


def override(key: str, value: str) -> str:
    """`-S key=value` for DVC, quoted for the shell and for Hydra's grammar (docs/videos.md, Paths and names in -S)."""
    if re.fullmatch(r"[A-Za-z0-9/._-]+", value):
        return f"-S {key}={value}"
    for_hydra = value.replace("'", r"\'")
    text = f"{key}='{for_hydra}'"
    if re.search(r'[!"$`\\]', text):
        return f"-S {shlex.quote(text)}"
    return f'-S "{text}"'


def _free(folder: Path) -> Path:
    """Where the listing is copied to: a name that is not taken, because a listing that is there may have been edited."""
    names = itertools.chain(["listing.csv"], (f"listing{number}.csv" for number in itertools.count(2)))
    return next(path for name in names if not (path := folder / name).exists())


def next_steps(data: Data, out: Path, recognised: bool, unlabelled: int) -> Sequence[str]:
    """The lines. out: where listing.csv lies. unlabelled: number of its rows without a label."""
    listing = out / "listing.csv"
    rows = f"{unlabelled} row{'s are' if unlabelled > 1 else ' is'} empty"
    fill = f"fill in the column label of {listing} ({rows}), then:" if unlabelled else ""
    if data.archive is not None:
        archive = str(Path(data.archive).expanduser().resolve())
        folder = Path(archive).with_suffix("")
        copied = _free(folder)
        steps = [f"dvc exp run -S data=archive {override('data.archive', archive)}   # all of the archive"] if recognised else []
        unpack = f"python -m zipfile -e {shlex.quote(archive)} {shlex.quote(str(folder))}"
        steps += [
            "to train from the listing, unpack the archive, because a listing needs a folder:"
            if recognised
            else fill or "unpack it:"
        ]
    else:
        folder = Path(data.folder).expanduser().resolve()
        copied, steps, unpack = _free(folder), [], ""
        if fill:
            steps.append(fill)
    steps += [unpack] if unpack else []
    steps.append(f"cp {shlex.quote(str(listing))} {shlex.quote(str(copied))}   # in the folder, DVC sees when it changes")
    where = f"{override('data.folder', str(folder))} {override('data.listing', str(copied))}"
    steps.append(f"dvc exp run -S data=folder {where}")
    if "${" in where:
        steps.append("rename the folder first: Hydra cannot take a path that holds ${")
    return steps
