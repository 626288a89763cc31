"""Divides clips into training, validation and test.

Invariants: each class has clips in all three parts; the order of the input does not matter; the same seed gives the same split,
and a class's split does not depend on which other classes there are, unless they share groups with it.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from pipeline.console import UserError
from pipeline.settings import Split
from pipeline.sources.source import Clip

__all__ = ["OFFICIAL_TEST_GROUPS", "fold_groups", "hold_out", "limited", "split_clips"]

# UCF-101's three published folds (ucfTrainTestlist), by group number; every other group trains.
OFFICIAL_TEST_GROUPS = {1: range(1, 8), 2: range(8, 15), 3: range(15, 22)}

_TRIES = 100  # orders in which groups are drawn; only classes that share groups need more than one


def _shuffled(names: Iterable[str], *salt: object) -> list[str]:
    """Random order by hash: the relative order of two names does not depend on the others."""
    return sorted(names, key=lambda name: hashlib.sha256("\0".join([*map(str, salt), name]).encode()).digest())


def _by_class(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    classes: dict[str, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.clip):
        classes[clip.category].append(clip)
    return dict(sorted(classes.items()))


def _share(fraction: float, count: int) -> int:
    """`fraction` of `count`, rounded, but at least one on each side."""
    return min(max(1, round(fraction * count)), count - 1)


def hold_out(clips: Iterable[Clip], fraction: float, seed: int, purpose: str) -> set[str]:
    """Draws the groups held out for `purpose`: of every class about `fraction` of its groups, at least one, and never all.

    Classes with few groups draw first; groups that classes share count for each of them. scikit-learn's StratifiedGroupKFold
    does not fit: it supports only fractions 1/k, and balances clips by moving whole groups between classes.
    Raises UserError if a class has a single group, or if shared groups allow no such choice.
    """
    groups = {category: sorted({clip.group for clip in members}) for category, members in _by_class(clips).items()}
    for category, own in groups.items():
        if len(own) < 2:
            raise UserError(
                f"class {category!r} has only one group to divide ({own[0]}), so none can be held out for {purpose} "
                "(training, validation and test need three in all)",
                advice="add clips of other groups, raise data.split.train_per_class, or leave the class out of data.classes",
            )
    for attempt in range(_TRIES):
        held: set[str] = set()
        kept: set[str] = set()
        for category in sorted(groups, key=lambda name: (len(groups[name]), name)):
            own = groups[category]
            undecided = [group for group in _shuffled(own, seed, purpose, attempt) if group not in held and group not in kept]
            wanted = _share(fraction, len(own)) - len(held.intersection(own))
            held.update(undecided[: max(wanted, 0)])
            kept.update(set(own) - held)
        if all(0 < len(held.intersection(own)) < len(own) for own in groups.values()):
            return held
    raise UserError(
        f"classes share groups so closely that no choice of {purpose} groups leaves every class on both sides",
        advice="use data.split.scheme=random, or give the split yourself (folders train and test, or a column split)",
    )


def fold_groups(clips: Iterable[Clip], folds: int, seed: int) -> list[set[str]]:
    """Divides the groups into `folds` sets, each with about the same number of clips of every class, and at least one.

    Groups with many clips are placed first, each where its classes have the fewest clips so far; `seed` decides between equals.
    scikit-learn's StratifiedGroupKFold does not fit: there a class's folds depend on which other classes there are, and a fold
    may have no clips of a class.
    Raises UserError if a class has fewer groups than there are folds, or if shared groups allow no such choice.
    """
    by_class = _by_class(clips)
    members: dict[str, Counter[str]] = defaultdict(Counter)  # of each group, the number of clips by class
    for category, own in by_class.items():
        for clip in own:
            members[clip.group][category] += 1
        groups = len({clip.group for clip in own})
        if groups < folds:
            raise UserError(
                f"class {category!r} has {groups} {'group' if groups == 1 else 'groups'}, fewer than data.split.folds = {folds}",
                advice=f"set data.split.folds={groups} or less, add clips of other groups, or leave the class out of data.classes"
                if groups > 1
                else "add clips of other groups, or leave the class out of data.classes",
            )
    for attempt in range(_TRIES):
        parts: list[set[str]] = [set() for _ in range(folds)]
        counts = {category: [0.0] * folds for category in by_class}  # shares of the class's clips
        shuffled = _shuffled(members, seed, "folds", attempt)
        for group in sorted(shuffled, key=lambda name: -members[name].total()):
            order = [int(name) for name in _shuffled(map(str, range(folds)), seed, "fold", attempt, min(members[group]))]
            own = members[group]
            chosen = min(order, key=lambda fold: sum(number * counts[category][fold] for category, number in own.items()))
            parts[chosen].add(group)
            for category, number in own.items():
                counts[category][chosen] += number / len(by_class[category])
        if all(min(shares) > 0 for shares in counts.values()):
            return parts
    raise UserError(
        f"classes share groups so closely that no choice of {folds} folds has clips of every class in each of them",
        advice="use fewer data.split.folds, or give the split yourself (folders train and test, or a column split)",
    )


def limited(clips: Iterable[Clip], number: int | None) -> list[Clip]:
    """At most `number` clips per class, one of each group in sorted order, then a second of each, and so on; None: all."""
    chosen = []
    for members in _by_class(clips).values():
        seen: Counter[str] = Counter()
        ranked = []
        for clip in members:
            ranked.append((seen[clip.group], clip.group, clip.clip, clip))
            seen[clip.group] += 1
        chosen += [clip for *_, clip in sorted(ranked, key=lambda item: item[:3])[:number]]
    return chosen


def _random_part(clips: Iterable[Clip], fraction: float, seed: int, purpose: str) -> set[str]:
    """Names (`Clip.clip`) of about `fraction` of each class's clips."""
    part: set[str] = set()
    for category, members in _by_class(clips).items():
        if len(members) < 2:
            raise UserError(
                f"class {category!r} has only one clip to divide ({members[0].clip}), so none is left for {purpose}",
                advice="add clips, or leave the class out of data.classes",
            )
        part.update(_shuffled((clip.clip for clip in members), seed, purpose)[: _share(fraction, len(members))])
    return part


def _official_test(clips: Collection[Clip], fold: int) -> set[str]:
    unnumbered = [clip.source for clip in clips if clip.number is None]
    if unnumbered:
        raise UserError(
            f"data.split.scheme=official needs UCF-101's names (v_<Class>_gNN_cNN.avi), which {unnumbered[0]} "
            f"and {len(unnumbered) - 1} others lack",
            advice="use data.split.scheme=grouped, folds, random, given or auto",
        )
    return {clip.clip for clip in clips if clip.number in OFFICIAL_TEST_GROUPS[fold]}


def _test_part(clips: Collection[Clip], split: Split, seed: int) -> set[str]:
    """Names of the test clips before any limit."""
    if split.scheme == "official":
        return _official_test(clips, split.fold)
    if split.scheme == "grouped":
        held = hold_out(clips, split.test, seed, "test")
        return {clip.clip for clip in clips if clip.group in held}
    if split.scheme == "folds":
        held = fold_groups(clips, split.folds, seed)[split.fold - 1]
        return {clip.clip for clip in clips if clip.group in held}
    if split.scheme == "random":
        return _random_part(clips, split.test, seed, "test")
    missing = [clip.source for clip in clips if clip.split is None]
    if missing:
        raise UserError(
            f"data.split.scheme=given, but {missing[0]} has no split",
            advice="add a split column to data.listing, or sort the videos into folders named train and test",
        )
    return {clip.clip for clip in clips if clip.split == "test"}


def _limited_with_validation(pool: list[Clip], given: set[str], number: int | None) -> list[Clip]:
    """At most `number` training and validation clips per class, in the proportion of the given split."""
    if number is None:
        return pool
    chosen = []
    for members in _by_class(pool).values():
        validation = [clip for clip in members if clip.clip in given]
        train = [clip for clip in members if clip.clip not in given]
        if len(members) <= number or not validation or not train:
            chosen += limited(members, number)
            continue
        share = min(max(1, round(number * len(validation) / len(members))), max(1, number - 1))
        chosen += limited(validation, share) + limited(train, number - share)
    return chosen


def split_clips(clips: Collection[Clip], split: Split, seed: int) -> dict[str, list[Clip]]:
    """Divides clips into {"train", "validation", "test"}; each list is sorted by name. Clips over a limit are in none.

    First the test clips are chosen:
      official  UCF-101's published fold, by group number;
      grouped   about `split.test` of each class's groups, drawn with `seed`; no group is on two sides;
      folds     those of fold `split.fold` of `split.folds`, drawn with `seed`; a group is in one fold;
      random    about `split.test` of each class's clips, drawn with `seed`, regardless of groups, which leak;
      given     those of the listing or the folders.
    Then `train_per_class` and `test_per_class` limit the other clips and the test clips (see `limited`). Last, about
    `split.validation` of the clips left for training are held out: whole groups of each class, but clips for random. If the
    source itself names validation clips, they are used instead.
    Raises UserError naming the first class that is left without clips in a part, or that cannot be divided.
    """
    clips = sorted(clips, key=lambda clip: clip.clip)
    test_names = _test_part(clips, split, seed)
    test = limited([clip for clip in clips if clip.clip in test_names], split.test_per_class)
    pool = [clip for clip in clips if clip.clip not in test_names]
    classes = sorted({clip.category for clip in clips})
    _require(classes, pool, "train", split)
    _require(classes, test, "test", split)

    given = {clip.clip for clip in pool if clip.split == "validation"} if split.scheme == "given" else set()
    if given:
        pool = _limited_with_validation(pool, given, split.train_per_class)
        held = given
    else:
        pool = limited(pool, split.train_per_class)
        if split.scheme == "random":
            held = _random_part(pool, split.validation, seed, "validation")
        else:
            groups = hold_out(pool, split.validation, seed, "validation")
            held = {clip.clip for clip in pool if clip.group in groups}
    parts = {
        "train": [clip for clip in pool if clip.clip not in held],
        "validation": [clip for clip in pool if clip.clip in held],
        "test": test,
    }
    for name, members in parts.items():
        _require(classes, members, name, split)
        members.sort(key=lambda clip: clip.clip)
    return parts


def _require(classes: list[str], part: list[Clip], name: str, split: Split) -> None:
    bare = sorted(set(classes) - {clip.category for clip in part})
    if bare:
        how = f"{split.scheme}, fold {split.fold}" if split.scheme in ("official", "folds") else split.scheme
        more = f" (and {len(bare) - 1} other classes)" if len(bare) > 1 else ""
        raise UserError(
            f"class {bare[0]!r}{more} has no {name} clips with data.split.scheme={how}",
            advice="choose another split, raise a limit, or leave the class out",
        )
