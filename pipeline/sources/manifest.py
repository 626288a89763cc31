"""`data/manifest.csv`: one row per clip, the only file that states a clip's class, group and split.

Invariant: a manifest that is read or written fits the schema: columns and types as in `COLUMNS`, one row per clip, sorted by
clip, labels that are the indices of the sorted classes, known splits.
"""

from pathlib import Path

import pandas

from pipeline.console import UserError
from pipeline.files import atomic_file
from pipeline.video.segment import SHORTEST, Segment

__all__ = [
    "COLUMNS",
    "SPLITS",
    "duplicated_across",
    "identical_across",
    "leaking_groups",
    "read_manifest",
    "segment_of",
    "write_manifest",
]

_AGAIN = "delete it and run `dvc repro`, which makes it again"
SPLITS = ("train", "validation", "test")
# The name of the clip; its file below data/clips (the same, but for segments), and from where to where in it, in seconds (empty:
# all of it). source: path in the archive or folder. duplicate_of: the first clip, by name, of those that show the same; empty if
# there is no other. bytes, sha256 (hexadecimal): of the file.
COLUMNS = {
    "clip": "str",
    "file": "str",
    "start": "str",
    "end": "str",
    "class": "str",
    "label": "int64",
    "group": "str",
    "split": "str",
    "source": "str",
    "duplicate_of": "str",
    "bytes": "int64",
    "sha256": "str",
}
_MAY_BE_EMPTY = ("start", "end", "duplicate_of")


def _check(manifest: pandas.DataFrame, name: str) -> None:
    """Raises UserError for the first part of the manifest `name` that does not fit the schema."""

    def require(fits: bool, problem: str) -> None:
        if not fits:
            raise UserError(f"{name}: {problem}", advice=_AGAIN)

    columns = ",".join(map(str, manifest.columns))
    require(list(manifest.columns) == list(COLUMNS), f"columns are {columns}, not {','.join(COLUMNS)}")
    require(len(manifest) > 0, "no clips")
    for column, kind in COLUMNS.items():
        values = manifest[column]
        if kind == "int64":
            require(pandas.api.types.is_integer_dtype(values), f"column {column} has values that are not whole numbers")
        else:
            filled = all(isinstance(value, str) and (value or column in _MAY_BE_EMPTY) for value in values)
            require(filled, f"column {column} has values that are not text")
    require(manifest["clip"].is_unique, "a clip is named twice")
    require(list(manifest["clip"]) == sorted(manifest["clip"]), "rows are not sorted by clip")
    unknown = sorted(set(manifest["split"]) - set(SPLITS))
    require(not unknown, f"unknown split {unknown[:1]}, not one of {', '.join(SPLITS)}")
    labels = {name: label for label, name in enumerate(sorted(set(manifest["class"])))}
    require(list(manifest["label"]) == [labels[name] for name in manifest["class"]], "labels are not the indices of the classes")
    pairs = zip(manifest["clip"], manifest["class"], strict=True)
    require(all(clip.startswith(f"{name}/") for clip, name in pairs), "a clip lies outside the folder of its class")
    require(bool((manifest["bytes"] >= 0).all()), "a negative size")
    require(bool(manifest["sha256"].str.fullmatch(r"[0-9a-f]{64}").all()), "a sha256 that is not 64 hexadecimal digits")


def segment_of(start: str, end: str) -> Segment | None:
    """The segment that the columns start and end state; None for a whole file. Raises ValueError if they are not numbers."""
    return Segment(float(start), float(end) if end else None) if start else None


def write_manifest(manifest: pandas.DataFrame, path: Path) -> None:
    """Writes a manifest as CSV, whole or not at all. Raises UserError if it does not fit the schema."""
    _check(manifest, str(path))
    with atomic_file(Path(path)) as part:
        manifest.to_csv(part, index=False, lineterminator="\n")


def read_manifest(path: Path) -> pandas.DataFrame:
    """Reads a manifest, with the columns in `COLUMNS`. Raises UserError if it is absent or does not fit the schema."""
    try:
        # Classes may be called NA, nan or null, so no text stands for a missing value.
        manifest = pandas.read_csv(path, dtype=COLUMNS, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not found", advice="run `dvc repro`, which makes it") from None
    except (ValueError, pandas.errors.ParserError) as error:
        raise UserError(f"{path}: not a manifest ({' '.join(str(error).split())})", advice=_AGAIN) from None
    _check(manifest, str(path))
    return manifest


def leaking_groups(manifest: pandas.DataFrame) -> list[str]:
    """Groups with clips in test and also in train or validation, sorted: they make test scores too high."""
    test = manifest["split"] == "test"
    return sorted(set(manifest.loc[test, "group"]) & set(manifest.loc[~test, "group"]))


def duplicated_across(manifest: pandas.DataFrame) -> list[tuple[str, str]]:
    """Pairs (train or validation clip, test clip) that show the same, sorted: the same frames, or of one `duplicate_of`."""
    named = manifest[manifest["duplicate_of"] != ""]
    return sorted({*identical_across(manifest), *_sorted(_across(named, "duplicate_of"))})


def identical_across(manifest: pandas.DataFrame) -> list[tuple[str, str]]:
    """Those with the same frames: of files of the same bytes, all of them, or segments that overlap."""
    times = {"start": manifest["start"].replace("", "0").astype(float), "end": manifest["end"].replace("", "inf").astype(float)}
    pairs = _across(manifest.assign(**times), "sha256")
    begin, end = pairs[["start_train", "start_test"]].max(axis=1), pairs[["end_train", "end_test"]].min(axis=1)
    return _sorted(pairs[end - begin >= SHORTEST])


def _across(manifest: pandas.DataFrame, same: str) -> pandas.DataFrame:
    """A row for each pair of a train or validation clip and a test clip whose values in the column `same` are equal."""
    test = manifest["split"] == "test"
    columns = ["clip", "start", "end", same]
    return manifest.loc[~test, columns].merge(manifest.loc[test, columns], on=same, suffixes=("_train", "_test"))


def _sorted(pairs: pandas.DataFrame) -> list[tuple[str, str]]:
    return sorted(zip(pairs["clip_train"], pairs["clip_test"], strict=True))
