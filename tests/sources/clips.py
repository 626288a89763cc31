"""Small archives in the layouts that the download stage knows; their videos are noise, as nothing here decodes them."""

import hashlib
import io
import random
import zipfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.settings import Data, Speed, Split
from pipeline.sources.naming import ucf_group, ucf_name
from pipeline.sources.source import Clip

# The beginning of an MP4 file, which says what it is.
MP4 = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41"
CLASSES = ("ApplyEyeMakeup", "ApplyLipstick", "Archery")


def noise(name: str, size: int) -> bytes:
    """Incompressible bytes, determined by the name."""
    return random.Random(name).randbytes(size)


def ucf_names(classes: Iterable[str] = CLASSES, groups: int = 25, clips: int = 2) -> list[str]:
    return [f"v_{c}_g{g:02d}_c{n:02d}.avi" for c in classes for g in range(1, groups + 1) for n in range(1, clips + 1)]


def ucf_clip(path: str) -> Clip:
    """A clip of one byte, with the class and group of its UCF-101 name."""
    group, number = ucf_group(path)
    return Clip(path, ucf_name(path)[0], group, number, 1)


def write_files(root: Path, *paths: str, content: bytes | None = None) -> Path:
    """Writes files below `root`, each with its own name as content, behind a signature of MP4; returns `root`."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(MP4 + path.encode() if content is None else content)
    return root


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


def ucf_members(size: int = 3000, **options) -> dict[str, bytes]:
    """Members of an archive in UCF-101's layout, with a file that is not a video."""
    names = {f"UCF101/{name}": noise(name, size) for name in ucf_names(**options)}
    return {"UCF101/": b"", "UCF101/readme.txt": b"not a video", **names}


def directory_start(content: bytes) -> int:
    """The offset of an archive's index; members lie before it."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return file.start_dir


def split(**changes) -> Split:
    limits = {"train_per_class": None, "test_per_class": None}
    values = {"scheme": "official", "folds": 5, "fold": 1, "test": 0.3, "validation": 0.2, "duplicates": "group", **limits}
    return Split(**{**values, **changes})


def data(**changes) -> Data:
    source = {"name": "test", "archive": None, "folder": None, "listing": None, "class_names": None, "watch": ""}
    classes = {"num_classes": None, "classes": None, "flip": True, "background": None}
    values = {**source, **classes}
    if "split" not in changes:
        changes["split"] = split()
    return Data(**{**values, **changes})


def speed(connections: int = 4, retries: int = 3, timeout: float = 2.0) -> Speed:
    return Speed(
        download_connections=connections,
        download_retries=retries,
        download_timeout=timeout,
        decode_workers=1,
        inference_batch=8,
        engine="auto",
        feature_cache=1.0,
        checkpoint_minutes=1.0,
    )


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
