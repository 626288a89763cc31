"""Types of command-line arguments for argparse, with one-line error messages."""

import argparse
from collections.abc import Callable, Sequence


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
