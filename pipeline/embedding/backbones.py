"""Saved backbones on disk, so that a run with the same weights and classes does not build the network again.

Invariants: a backbone is there whole or not at all; while it is used its lock file has a shared lock, so that commands.cache does
not remove it; beyond KEPT, those that were unused for longest are removed.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.files import atomic_folder, content_key, scratch
from pipeline.models.family import Backbone

KEPT = 8


@contextmanager
def saved_backbone(backbone: Backbone, views: int, *key: Any) -> Iterator[Path]:
    """The folder that `backbone.save` wrote, now or in an earlier run.

    views: see `Backbone.save`. key: all that decides the content, besides.
    """
    home = scratch("embed", "backbones")
    folder = home / content_key(views, *key)
    with _locked(folder, fcntl.LOCK_EX):
        if not folder.exists():
            with atomic_folder(folder) as part:
                backbone.save(part, views)
        folder.touch()
    _remove_old(home)
    with _locked(folder, fcntl.LOCK_SH):
        yield folder


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    with open(f"{folder}.lock", "a") as lock:
        fcntl.flock(lock, kind)
        yield


def _remove_old(home: Path) -> None:
    folders = sorted((path for path in home.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for folder in folders[:-KEPT]:
        try:
            with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(folder)
        except BlockingIOError:  # another run uses it
            continue
