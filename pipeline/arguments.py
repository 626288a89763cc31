"""Types of command-line arguments: what argparse calls on a text, and refuses in one line."""

import argparse
from collections.abc import Callable, Sequence


def at_least(smallest: int) -> Callable[[str], int]:
    """A whole number."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {smallest}")
        return int(text)

    return parse


def positive(text: str) -> float:
    """A number above 0, and finite."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def among(known: Sequence[str]) -> Callable[[str], str]:
    """One of the `known` names."""

    def parse(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(known)}")
        return text

    return parse


def listed(one: Callable[[str], object]) -> Callable[[str], tuple]:
    """Comma-separated items of the type `one`, each once."""

    def parse(text: str) -> tuple:
        return tuple(dict.fromkeys(one(part.strip()) for part in text.split(",")))

    return parse
