"""What is kept in .cache, how large it is, and removing parts of it. Nothing there is needed: it only saves work.

python -m commands.cache                     sizes
python -m commands.cache --remove features   removes the features of the backbones; embed computes them again
"""

import argparse
import shutil
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from pipeline.console import run_command, say
from pipeline.files import repository_root

# What stages keep in .cache, and what it costs to remove it.
KINDS = {
    "clips": "clips of archives; download fetches them again",
    "weights": "downloaded weights; they are fetched again",
    "features": "features of the frozen backbones by clip; embed computes them again",
    "frames": "unfinished extraction; a killed extract starts over",
    "embed": "saved frozen backbones; embed builds them again",
    "networks": "networks converted for OpenVINO; they are converted again",
    "evaluation": "label errors and scores of held-out classes; evaluate computes them again",
    "finetune": "unfinished training; a killed finetune starts over",
    "events": "scores of long videos; predict --events computes them again",
    "fingerprints": "of clips, for near-duplicates; download computes them again",
    "cluster": "files by which the workers of a cluster are checked",
}


class Kept(NamedTuple):
    """A folder of .cache. bytes, files: of all in it. about: what it is."""

    kind: str
    files: int
    bytes: int
    about: str


def find_kept(cache: Path) -> list[Kept]:
    """The folders of .cache, the largest first."""
    found = []
    for folder in sorted(path for path in cache.iterdir() if path.is_dir()) if cache.is_dir() else []:
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        found.append(Kept(folder.name, len(sizes), sum(sizes), KINDS.get(folder.name, "")))
    return sorted(found, key=lambda kept: (-kept.bytes, kept.kind))


def remove(folder: Path) -> list[str]:
    """Removes what is in a folder of .cache, but what a running process has locked; returns the names of that."""
    used = []
    for entry in sorted(folder.iterdir()):
        if entry.suffix == ".lock":
            continue
        lock = next((path for path in (folder / f"{entry.name}.lock", entry / ".lock") if path.exists()), None)
        try:
            with FileLock(lock or folder / ".removing", timeout=0):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        except Timeout:
            used.append(entry.name)
    return used


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m commands.cache", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--remove", nargs="+", choices=sorted(KINDS), metavar="KIND", help=f"of {', '.join(KINDS)}", default=[])
    options = parser.parse_args()
    cache = repository_root() / ".cache"
    before = {kept.kind: kept.bytes for kept in find_kept(cache)}
    for kind in options.remove:
        used = remove(cache / kind) if kind in before else []
        if used:
            say(f"warning: .cache/{kind}: a running process uses {', '.join(used)}, so that stays")
    kept = find_kept(cache)
    if options.remove:
        say(f"removed {(sum(before.values()) - sum(item.bytes for item in kept)) / 1e6:,.1f} MB")
    for item in kept:
        print(f"{item.kind:<13}{item.bytes / 1e6:>12,.1f} MB{item.files:>9} files  {item.about}")
    print(f"{'together':<13}{sum(item.bytes for item in kept) / 1e6:>12,.1f} MB{sum(item.files for item in kept):>9} files")


if __name__ == "__main__":
    run_command(main)
