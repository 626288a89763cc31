"""`data/manifest.csv`: one row a clip, the only place where class, group and split of a clip are written down.

A manifest that is read or written always fits the schema: columns and types as in `COLUMNS`, one row a clip, sorted by clip,
labels that are the places of the classes in name order, splits that exist.
"""

from pathlib import Path

import pandas

from pipeline.console import UserError
from pipeline.files import atomic_file

__all__ = ["COLUMNS", "SPLITS", "check_manifest", "duplicated_across", "leaking_groups", "read_manifest", "write_manifest"]

SPLITS = ("train", "validation", "test")
# clip: posix path under data/clips; source: path in the archive or folder; bytes: its size; sha256: of its content, hexadecimal.
COLUMNS = {
    "clip": "str",
    "class": "str",
    "label": "int64",
    "group": "str",
    "split": "str",
    "source": "str",
    "bytes": "int64",
    "sha256": "str",
}


def check_manifest(manifest: pandas.DataFrame, name: str) -> None:
    """Raises UserError, naming the first thing in the manifest `name` that does not fit the schema."""

    def demand(right: bool, problem: str) -> None:
        if not right:
            raise UserError(f"{name}: {problem}; delete it and run `dvc repro`, which makes it")

    demand(
        list(manifest.columns) == list(COLUMNS), f"columns are {','.join(map(str, manifest.columns))}, not {','.join(COLUMNS)}"
    )
    demand(len(manifest) > 0, "no clips")
    for column, kind in COLUMNS.items():
        values = manifest[column]
        fits = pandas.api.types.is_integer_dtype(values) if kind == "int64" else all(isinstance(v, str) and v for v in values)
        demand(fits, f"column {column} has values that are not {'whole numbers' if kind == 'int64' else 'text'}")
    demand(manifest["clip"].is_unique, "a clip is named twice")
    demand(list(manifest["clip"]) == sorted(manifest["clip"]), "rows are not sorted by clip")
    strange = sorted(set(manifest["split"]) - set(SPLITS))
    demand(not strange, f"unknown split {strange[:1]}, not one of {', '.join(SPLITS)}")
    places = {category: place for place, category in enumerate(sorted(set(manifest["class"])))}
    demand(
        list(manifest["label"]) == [places[c] for c in manifest["class"]],
        "labels are not the places of the classes in name order",
    )
    pairs = zip(manifest["clip"], manifest["class"], strict=True)
    demand(all(clip.startswith(f"{category}/") for clip, category in pairs), "a clip lies outside the folder of its class")
    demand(bool((manifest["bytes"] >= 0).all()), "a negative size")
    demand(bool(manifest["sha256"].str.fullmatch(r"[0-9a-f]{64}").all()), "a sha256 that is not 64 hexadecimal digits")


def write_manifest(manifest: pandas.DataFrame, path: Path) -> None:
    """Writes a checked manifest as CSV, whole or not at all."""
    check_manifest(manifest, str(path))
    with atomic_file(Path(path)) as part:
        manifest.to_csv(part, index=False, lineterminator="\n")


def read_manifest(path: Path) -> pandas.DataFrame:
    """Reads a manifest: columns as in `COLUMNS` (text, and int64 for label and bytes); raises UserError where it is absent or
    does not fit.
    """
    try:
        # Classes may be called NA, nan or null: nothing stands for a missing value here.
        manifest = pandas.read_csv(path, dtype=COLUMNS, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro`, which makes it") from None
    except (ValueError, pandas.errors.ParserError) as error:
        raise UserError(f"{path}: not a manifest ({' '.join(str(error).split())}); delete it and run `dvc repro`") from None
    check_manifest(manifest, str(path))
    return manifest


def leaking_groups(manifest: pandas.DataFrame) -> list[str]:
    """Groups that have clips in test and also in train or validation, sorted. Test results flatter a model that saw them."""
    test = manifest["split"] == "test"
    return sorted(set(manifest.loc[test, "group"]) & set(manifest.loc[~test, "group"]))


def duplicated_across(manifest: pandas.DataFrame) -> list[tuple[str, str]]:
    """Pairs (train or validation clip, test clip) with the same bytes, sorted."""
    test = manifest["split"] == "test"
    columns = ["clip", "sha256"]
    pairs = manifest.loc[~test, columns].merge(manifest.loc[test, columns], on="sha256", suffixes=("_train", "_test"))
    return sorted(zip(pairs["clip_train"], pairs["clip_test"], strict=True))
