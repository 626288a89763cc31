"""Types and checks of command-line arguments, with one-line error messages."""

import argparse
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from pipeline.console import UserError


def at_least(smallest: int) -> Callable[[str], int]:
    """An integer of at least `smallest`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {smallest}")
        return int(text)

    return parse


def positive(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def not_negative(text: str) -> float:
    """A number of at least 0; may be inf."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def among(known: Sequence[str]) -> Callable[[str], str]:
    """One of the `known` names."""

    def parse(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(known)}")
        return text

    return parse


def listed(one: Callable[[str], object]) -> Callable[[str], tuple]:
    """Comma-separated items of the type `one`, without duplicates."""

    def parse(text: str) -> tuple:
        return tuple(dict.fromkeys(one(part.strip()) for part in text.split(",")))

    return parse


def check_out(out: Path, written: Collection[str]) -> None:
    """Raises UserError unless the folder `--out` can be replaced as a whole: it may hold nothing but the files `written`."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file", advice="name a folder")
    parent = next(path for path in out.resolve().parents if path.exists())
    if not os.access(parent, os.W_OK):
        raise UserError(f"--out {out}: nothing may be written into {parent}", advice="name another folder")
    others = sorted(path.name for path in out.iterdir() if path.name not in written) if out.is_dir() else []
    if others:
        raise UserError(f"--out {out}: holds other files ({others[0]}), and it would be replaced", advice="name a new folder")
