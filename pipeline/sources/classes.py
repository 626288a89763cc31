"""The classes that are used: all, the first N by name, or those in `data.classes`."""

import difflib
from collections.abc import Collection

from pipeline.console import UserError
from pipeline.sources.left_out import few
from pipeline.sources.naming import folded

__all__ = ["choose_classes"]


def _resolve(name: str, available: Collection[str], empty: Collection[str]) -> str:
    """The available class with this name, or else the only one that differs just in case or Unicode normalisation.

    UCF-101 spells a class `HandstandPushups` in classInd.txt and `HandStandPushups` in its file names.
    """
    if name in available:
        return name
    same = [other for other in available if folded(other) == folded(name)]
    if len(same) == 1:
        return same[0]
    if name in empty:
        raise UserError(f"data.classes: class {name!r} has no videos", advice="add some or leave it out")
    close = difflib.get_close_matches(name, sorted(available), n=3)
    advice = f"did you mean {' or '.join(close)}?" if close else f"there are: {few(sorted(available), 10)}"
    raise UserError(f"data.classes: no class {name!r}", advice=advice)


def choose_classes(
    available: Collection[str],
    number: int | None,
    names: list[str] | None,
    empty: Collection[str] = (),
    background: str | None = None,
) -> list[str]:
    """Chooses classes; returns them sorted as plain strings. A clip's label is its class's index in this list.

    available: classes that have clips. number: how many to take, by name. names: which to take. Both None: all.
    empty: classes known to have no videos. background: a class that is always taken, and not counted in `number`.
    Raises UserError for an unknown name (with close matches), a repeated name, too few classes, a chosen class without videos.
    """
    if names is not None:
        if not names:
            raise UserError("data.classes is empty", advice="name at least two classes, or set it to null for all")
        chosen = [_resolve(name, available, empty) for name in names]
        twice = sorted({name for name in chosen if chosen.count(name) > 1})
        if twice:
            raise UserError(f"data.classes names {', '.join(twice)} more than once", advice="name each once")
        chosen += [background] if background is not None and background not in chosen else []
    else:
        every = sorted({*available, *empty} - {background})
        if number is not None and number > len(every):
            raise UserError(
                f"data.num_classes = {number}, but there are only {len(every)} classes",
                advice="lower it, or set it to null for all",
            )
        chosen = every[:number] + ([background] if background is not None else [])
        bare = [name for name in chosen if name not in available]
        if bare:
            raise UserError(
                f"class {bare[0]!r} has no videos",
                advice="add some, remove its folder, or name the classes wanted in data.classes",
            )
    if len(chosen) < 2:
        raise UserError(
            f"only one class is chosen ({', '.join(chosen)}), but a classifier needs at least two",
            advice="choose more, or check that the videos lie in a folder for each class",
        )
    return sorted(chosen)
