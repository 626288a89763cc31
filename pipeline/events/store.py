"""Scores and thumbnails of a source on disk, appended as they are computed: a killed run resumes, other thresholds cost nothing.

Invariants: what is appended is never changed, and a record that a killed process left unfinished is discarded, so that a resumed
run ends with the same bytes as an uninterrupted one. The key of a folder states all that decides its content: the files (size,
time of change, first and last megabyte), the network (its outputs for a fixed input) and the windows.
"""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from filelock import FileLock, Timeout

from pipeline.events.detection import Score
from pipeline.events.scores import Windows
from pipeline.files import content_key, repository_root, scratch, write_json
from pipeline.inference.models import Predictor
from pipeline.inference.sources import Frame
from pipeline.video.decode import MICROSECONDS, BrokenVideo, encode_jpeg, frame_size, library_versions, resize_frame

KIND = "events"  # .cache/events
KEPT_BYTES = 1 << 30  # of all sources; the folders unused for the longest time are removed
THUMBNAIL_SIZE = 120  # pixels of the short side
THUMBNAIL_EVERY = 1.0  # seconds: 40 MB for three hours
_QUALITY = 75
_VERSION = 1  # bump to discard what older code wrote
_EDGE = 1 << 20  # bytes at both ends of a file that its identity depends on
_HEADER = struct.Struct("<qI")  # of a thumbnail: microseconds, bytes of the JPEG


def _file_identity(path: Path) -> list:
    try:
        status = path.stat()
        with open(path, "rb") as file:
            edges = hashlib.sha256(file.read(_EDGE))
            file.seek(max(status.st_size - _EDGE, 0))
            edges.update(file.read(_EDGE))
    except OSError as error:
        raise BrokenVideo(path, f"cannot be read ({error.strerror})") from None
    return [str(path.resolve()), status.st_size, status.st_mtime_ns, edges.hexdigest()]


def _network_identity(predictor: Predictor, windows: Windows) -> str:
    """A hash of what the network makes of a fixed input: it differs for other weights, wherever they come from."""
    size = predictor.size
    count = predictor.view_indices(windows.count).shape[1]
    noise = np.random.default_rng(0).random((1, count, size, size, 3), np.float32)
    return hashlib.sha256(predictor.clip_probabilities(noise).tobytes()).hexdigest()


def scores_key(paths: list[Path], options: list, predictor: Predictor, windows: Windows) -> str:
    """The name of the folder of a source. paths: its files. options: what else decides its frames."""
    files = [_file_identity(path) for path in paths]
    settings = [predictor.fps, predictor.size, predictor.classes, predictor.sampling, predictor.views, windows]
    network = _network_identity(predictor, windows)
    return content_key(_VERSION, files, options, library_versions(), settings, network)


@contextmanager
def open_store(key: str | None, classes: int) -> Iterator["ScoreStore"]:
    """The store of a source, locked by one process at a time; afterwards, old stores of others are removed.

    key: None for a source that cannot be recognised later, whose store is removed afterwards.
    """
    if key is None:
        with TemporaryDirectory(prefix="predict-") as temporary, ScoreStore(Path(temporary), classes) as store:
            yield store
        return
    folder = scratch(KIND, key)
    with FileLock(f"{folder}.lock"):
        folder.mkdir(exist_ok=True)
        os.utime(folder)
        with ScoreStore(folder, classes) as store:
            yield store
    _remove_oldest(folder)


def _remove_oldest(current: Path) -> None:
    folders = sorted((folder for folder in (repository_root() / ".cache" / KIND).iterdir() if folder.is_dir()), key=_used)
    sizes = {folder: _size(folder) for folder in folders}
    for folder in folders:
        if sum(sizes.values()) <= KEPT_BYTES:
            return
        try:
            with FileLock(f"{folder}.lock", timeout=0):
                if folder != current:
                    shutil.rmtree(folder, ignore_errors=True)
                    del sizes[folder]
        except Timeout:  # another process is using it
            continue


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # another process has removed it just now
        return 0.0


def _size(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except FileNotFoundError:  # as above
        return 0


class ScoreStore:
    """Scores and thumbnails in a folder. A context manager.

    Attributes:
      count: number of stored scores.
      end: of the source, in seconds, once all its scores are stored; None before.
      thumbnails_until: seconds of the latest thumbnail; -inf if there is none.
    """

    def __init__(self, folder: Path, classes: int) -> None:
        self._record = np.dtype([("seconds", "<f8"), ("probabilities", "<f4", (classes,))])
        self._scores, self._thumbnails, self._complete = (
            folder / name for name in ("scores.bin", "thumbnails.bin", "complete.json")
        )
        self.folder = folder

    def __enter__(self) -> "ScoreStore":
        self._score_file = open(self._scores, "ab")
        self._thumbnail_file = open(self._thumbnails, "ab")
        self.count = self._scores.stat().st_size // self._record.itemsize
        self._score_file.truncate(self.count * self._record.itemsize)
        self.thumbnails_until, whole = float("-inf"), 0
        for seconds, jpeg in self.thumbnails():
            self.thumbnails_until = seconds
            whole += _HEADER.size + len(jpeg)
        self._thumbnail_file.truncate(whole)
        self.end = json.loads(self._complete.read_text())["end"] if self._complete.exists() else None
        return self

    def __exit__(self, *error: object) -> None:
        self._score_file.close()
        self._thumbnail_file.close()

    def add(self, score: Score) -> None:
        """Appends a score; the process may be killed right after."""
        self._score_file.write(np.array((score.seconds, score.probabilities), self._record).tobytes())
        self._score_file.flush()
        self.count += 1

    def add_thumbnail(self, frame: Frame) -> None:
        """Keeps a small copy of the frame if THUMBNAIL_EVERY has passed since the latest one."""
        timestamp, image = frame
        if timestamp / MICROSECONDS < self.thumbnails_until + THUMBNAIL_EVERY:
            return
        height, width, _ = image.shape
        small = resize_frame(image, frame_size(width, height, min(THUMBNAIL_SIZE, height, width)))
        jpeg = encode_jpeg(cv2.cvtColor(small, cv2.COLOR_RGB2BGR), _QUALITY, self.folder)
        self._thumbnail_file.write(_HEADER.pack(timestamp, len(jpeg)) + jpeg)
        self._thumbnail_file.flush()
        self.thumbnails_until = timestamp / MICROSECONDS

    def finish(self, end: float) -> None:
        """States that all scores of the source are stored. end: of the source, in seconds."""
        write_json(self._complete, {"end": end})
        self.end = end

    def scores(self) -> Iterator[Score]:
        """The stored scores, read in pieces."""
        with open(self._scores, "rb") as file:
            while len(piece := np.fromfile(file, self._record, 4096)):
                for record in piece:
                    yield Score(float(record["seconds"]), record["probabilities"])

    def thumbnails(self) -> Iterator[tuple[float, bytes]]:
        """Seconds and JPEG of each stored thumbnail."""
        with open(self._thumbnails, "rb") as file:
            while len(header := file.read(_HEADER.size)) == _HEADER.size:
                timestamp, length = _HEADER.unpack(header)
                jpeg = file.read(length)
                if len(jpeg) < length:
                    return
                yield timestamp / MICROSECONDS, jpeg
