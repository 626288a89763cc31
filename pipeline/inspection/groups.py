"""Which videos belong together, as their names suggest: takes of one recording, days, persons, folders.

Videos of one group share a scene, a person or a day. If they lie on both sides of a split, the test accuracy is too high. Names
are a hint, so the suggestion states its reason, and the user decides.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date
from pathlib import PurePosixPath

from pipeline.inspection.content import GroupCandidate
from pipeline.sources.layouts import split_named
from pipeline.sources.left_out import few

__all__ = ["MIN_GROUPS", "READINGS", "candidate", "date_in", "folder_of", "keys_by", "person_in", "stem_of", "suggest"]

MIN_GROUPS = 3  # of each class: one each for training, validation and test
MIN_NAMED = 0.5  # share of the names that must state a group
MAX_LARGEST = 0.5  # share of the videos in one group: with more, no split is near the one asked for
READINGS = ("person", "folder", "stem", "date")  # the order of preference: a person matters more than a day
_WORDS = {"person": "a person's number", "folder": "a folder", "stem": "a name without its number", "date": "a date"}

_COPY = re.compile(
    r"^(?:copy|kopie|copie|copia)[ _]+(?:of|von|de)[ _]+|[ _-]*\(\d+\)$|[ _-]+(?:copy|kopie|copie)(?:[ _]?\d+)?$", re.I
)
_EDIT = re.compile(
    r"[ _.-]+(?:h?flip(?:ped)?|mirror(?:ed)?|rot(?:ated?)?\d*|aug(?:mented)?\d*|edit(?:ed)?|trim(?:med)?|cut|crop(?:ped)?)$", re.I
)
# A counter at the end: kitchen_cam1_003, v_Archery_g01_c02, dinner take 2, walk (3), jump-part4, run12
_COUNTER = re.compile(r"[ _.-]*(?:(?<![A-Za-z])(?:c|clip|take|part|seg|segment|trial|rep|t))?[ _.-]*\d+$", re.I)
# Names that a device or an application gives to every file: they say nothing of the scene.
_GENERIC = re.compile(
    r"(?:v|vid|video|videos|clip|clips|img|mov|movie|dsc|dscn|gopr|gx|gh|mvi|pxl|rec|recording|screen[ _-]?recording"
    r"|untitled|new|file|whatsapp[ _-]?video|signal|telegram|output|cut|segment|sequence|scene)?[ _.-]*",
    re.I,
)
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?=\D|$|\d{6}(?!\d))")
_RESOLUTION = re.compile(r"(?:144|240|360|480|540|576|720|1080|1440|2160)[pi]\d*", re.I)  # 720p30 is no person
_PERSON = re.compile(
    r"(?<![A-Za-z])(?:p|person|people|subject|subj|sub|actor|participant|performer|player|signer|speaker|user|child|patient)"
    r"[ _.-]?(\d{1,4})(?!\d)",
    re.I,
)


def stem_of(path: str) -> str | None:
    """The name without copy marks and without the number at its end; None if that says nothing of the scene.

    >>> stem_of("pour/Copy of kitchen_cam1_003.mp4")
    'kitchen_cam1'
    """
    name = PurePosixPath(path).stem
    before = None
    while name != before:
        before, name = name, _EDIT.sub("", _COPY.sub("", name)).strip()
    name = _COUNTER.sub("", name).strip(" _.-")
    return None if _GENERIC.fullmatch(name) else name


def date_in(path: str) -> str | None:
    """The last date in the path, as YYYY-MM-DD: of 2024-05-01, 2024_05_01, 20240501 or 20240501123456."""
    for year, _, month, day in reversed(_DATE.findall(path)):
        try:
            return date(int(year), int(month), int(day)).isoformat()
        except ValueError:
            continue
    return None


def person_in(path: str) -> str | None:
    """The last person in the path, as `person7`: of p07, person_7, Subject 07, actor-07, S001C001P007R001."""
    found = _PERSON.findall(_RESOLUTION.sub(" ", str(PurePosixPath(path).with_suffix(""))))
    return f"person{int(found[-1])}" if found else None


def folder_of(path: str, label: str, level: int) -> str | None:
    """The folders of the path down to `level`, without those of its class and split; None if it has fewer."""
    own = [part for part in PurePosixPath(path).parts[:-1] if part != label and split_named(part) is None]
    return "/".join(own[: level + 1]) if len(own) > level else None


def keys_by(reading: str, labels: Mapping[str, str]) -> dict[str, str]:
    """The group that each path states by a reading; paths that state none are absent. labels: class by path.

    Of the folders the uppermost level is taken that gives every class enough groups, else the uppermost that differs at all.
    """
    if reading == "folder":
        depth = max((len(PurePosixPath(path).parts) - 1 for path in labels), default=0)
        levels = []
        for level in range(depth):
            keys = {path: key for path, label in labels.items() if (key := folder_of(path, label, level)) is not None}
            if len(set(keys.values())) > 1:
                levels.append(keys)
        fitting = [keys for keys in levels if (one := candidate("folder", keys, labels)) is not None and one.fits]
        return next(iter(fitting or levels), {})
    read = {"stem": stem_of, "date": date_in, "person": person_in}[reading]
    return {path: key for path in labels if (key := read(path)) is not None}


def candidate(reading: str, keys: Mapping[str, str], labels: Mapping[str, str]) -> GroupCandidate | None:
    """What the groups of a reading would be like; None if no two videos would share one. keys: see `keys_by`."""
    members: dict[str, list[str]] = defaultdict(list)
    for path, key in keys.items():
        members[key].append(path)
    if not members or len(members) == len(keys):
        return None
    sizes = Counter({key: len(paths) for key, paths in members.items()})
    largest_group, largest = min(sizes.items(), key=lambda item: (-item[1], item[0]))
    own: dict[str, set[str]] = defaultdict(set)
    for path, label in labels.items():
        own[label].add(keys.get(path, f"/{path}"))  # no key starts with a slash
    fewest_class, fewest = min(((label, len(groups)) for label, groups in own.items()), key=lambda item: (item[1], item[0]))
    named = len(keys)
    if named < MIN_NAMED * len(labels):
        fits, reason = False, f"only {named} of {len(labels)} names state one"
    elif largest > MAX_LARGEST * len(labels):
        fits, reason = False, f"one group ({largest_group}) would hold {largest} of {len(labels)} videos"
    elif fewest < MIN_GROUPS:
        where = f"class {fewest_class} would have" if fewest_class else "there would be"
        fits, reason = False, f"{where} only {fewest} group{'s' * (fewest != 1)}, and a split needs {MIN_GROUPS}"
    else:
        every = f"every class has at least {fewest}" if len(own) > 1 else f"there are {fewest}"
        fits, reason = True, f"{named} of {len(labels)} names state one, the largest group holds {largest}, and {every}"
    shown = [key for key, count in sizes.most_common(3) if count > 1]
    examples = [f"{key}: {few((PurePosixPath(path).name for path in sorted(members[key])), 2)}" for key in shown]
    return GroupCandidate(
        by=reading,
        named=named,
        groups=len(members),
        largest=largest,
        largest_group=largest_group,
        fewest=fewest,
        fewest_class=fewest_class,
        fits=fits,
        reason=reason,
        examples=examples,
    )


def suggest(candidates: list[GroupCandidate]) -> GroupCandidate | None:
    """The candidate that fits, in the order of READINGS; None if none does."""
    return next((one for reading in READINGS for one in candidates if one.by == reading and one.fits), None)
