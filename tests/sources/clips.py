"""Small archives in the layouts that the download stage knows; their videos are noise, as nothing here decodes them."""

import hashlib
import io
import random
import zipfile
from collections.abc import Iterable

from stages.params import Data, Split

CLASSES = ("ApplyEyeMakeup", "ApplyLipstick", "Archery")


def noise(name: str, size: int) -> bytes:
    """Bytes that do not compress and follow from the name."""
    return random.Random(name).randbytes(size)


def ucf_names(classes: Iterable[str] = CLASSES, groups: int = 25, clips: int = 2) -> list[str]:
    return [f"v_{c}_g{g:02d}_c{n:02d}.avi" for c in classes for g in range(1, groups + 1) for n in range(1, clips + 1)]


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


def ucf_members(size: int = 3000, **options) -> dict[str, bytes]:
    """Members of an archive in UCF-101's layout, with something that is no video."""
    names = {f"UCF101/{name}": noise(name, size) for name in ucf_names(**options)}
    return {"UCF101/": b"", "UCF101/readme.txt": b"not a video", **names}


def directory_start(content: bytes) -> int:
    """Where the index of an archive begins: what lies before are members."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return file.start_dir


def split(**changes) -> Split:
    limits = {"train_per_class": None, "test_per_class": None}
    values = {"scheme": "official", "fold": 1, "test": 0.3, "validation": 0.2, **limits}
    return Split(**{**values, **changes})


def data(**changes) -> Data:
    source = {"name": "test", "archive": None, "folder": None, "listing": None, "watch": ""}
    classes = {"num_classes": None, "classes": None, "flip": True}
    values = {**source, **classes, "workers": 4, "retries": 3, "timeout": 2.0}
    if "split" not in changes:
        changes["split"] = split()
    return Data(**{**values, **changes})


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
