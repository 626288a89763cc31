"""Decodes each recording once for all its segments, into files of the scratch folder. No TensorFlow here: workers import this.

Invariants: a recording is decoded by one worker, in one pass, which writes each segment to a file of its own as soon as it ends.
So memory is bounded by the segments that overlap, a killed run keeps every finished segment, and the files show the progress,
whichever machine decodes.
"""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import joblib
import numpy as np
from joblib.externals.loky import ProcessPoolExecutor, as_completed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from pipeline.cluster import Call, Workers
from pipeline.console import UserError
from pipeline.extraction.clips import Clip, complaint, damaged_error
from pipeline.files import atomic_file
from pipeline.settings import Frames
from pipeline.video.decode import BrokenVideo, Damage, EncodedClip
from pipeline.video.recording import encode_segments
from pipeline.video.segment import Segment

POLL_SECONDS = 0.5  # between looks at the folder for finished segments


def segment_file(folder: Path, clip: str) -> Path:
    """Where a segment's frames lie in the scratch folder. clip: its id."""
    return folder / "segments" / f"{hashlib.sha256(clip.encode()).hexdigest()[:32]}.npz"


def write_segment(path: Path, result: EncodedClip | BrokenVideo) -> None:
    """Writes the frames of a segment, or the reason why there are none, atomically; nothing in the file is pickled."""
    if isinstance(result, BrokenVideo):
        content = {"reason": np.array(result.reason)}
    else:
        damage = result.damage
        numbers = [] if damage is None else [*damage[:3], np.nan if damage.at is None else damage.at]
        content = {
            "jpegs": np.frombuffer(b"".join(result.jpegs), np.uint8),
            "lengths": np.array([len(jpeg) for jpeg in result.jpegs], np.int64),
            "timestamps": np.array(result.timestamps, np.int64),
            "damage": np.array(numbers, np.float64),
        }
    with atomic_file(path) as part, part.open("wb") as file:
        np.savez(file, **content)


def read_segment(path: Path, recording: Path) -> EncodedClip | BrokenVideo:
    """Reads what `write_segment` wrote. recording: named by the error of a broken one."""
    with np.load(path, allow_pickle=False) as content:
        if "reason" in content:
            return BrokenVideo(recording, str(content["reason"]))
        joined = content["jpegs"].tobytes()
        ends = np.cumsum(content["lengths"]).tolist()
        damage = content["damage"].tolist()
        return EncodedClip(
            [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)],
            content["timestamps"].tolist(),
            Damage(*map(int, damage[:3]), None if np.isnan(damage[3]) else damage[3]) if damage else None,
        )


def decode_recording(
    path: Path, parts: Sequence[tuple[Segment, Path]], fps: float, size: int, quality: int, fail: bool
) -> tuple[int, str] | None:
    """Writes the segments of a recording that are not written yet, in a worker process. parts: each segment and its file.

    fail: stop at the first that is broken or damaged; returns its index and what is wrong with it, else None.
    """
    missing = [number for number, (_, file) in enumerate(parts) if not file.is_file()]  # a worker that died may have left some
    if not missing:
        return None
    for number, result in encode_segments(path, [parts[number][0] for number in missing], fps, size, quality):
        why = complaint(result)
        if why and fail:
            return missing[number], why
        write_segment(parts[missing[number]][1], result)
    return None


def decode_recordings(
    clips: Sequence[Clip], frames: Frames, clips_dir: Path, folder: Path, workers: int | None, cluster: Workers | None, bar: tqdm
) -> None:
    """Decodes the recordings of these segments; the frames of each then lie at its `segment_file` in `folder`.

    workers, cluster: as for `encode_clips`. bar: advances by each segment. Raises UserError for a damaged one with
    frames.on_error = fail, and for a worker that is killed.
    """
    root, here = clips_dir.resolve(), folder.resolve()  # workers have working directories of their own
    clips = [clip for clip in clips if not segment_file(here, clip.id).is_file()]
    recordings: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        recordings[clip.file].append(clip)
    if not recordings:
        return
    # Long ones first, so that no worker starts one while the others have nothing left to do.
    order = sorted(recordings, key=lambda file: (-recordings[file][0].bytes, file))
    rest = (frames.fps, frames.size, frames.quality, frames.on_error == "fail")
    calls = []
    for file in order:
        parts = [(clip.segment, segment_file(here, clip.id)) for clip in recordings[file]]
        calls.append(Call((root / file, parts, *rest), 0, file))
    files = [segment_file(here, clip.id) for clip in clips]
    with _counted(files, bar), closing(_results(calls, workers, cluster)) as results:
        for file, found in results:
            if found is not None:
                number, why = found
                raise damaged_error(clips_dir, recordings[file][number], why)


def _results(calls: list[Call], workers: int | None, cluster: Workers | None) -> Iterator[tuple[str, tuple[int, str] | None]]:
    """(recording, what `decode_recording` returns) for each call, as soon as it is done."""
    if cluster is not None:
        results = cluster.in_order(decode_recording, calls, ahead=2)
        yield from ((call.what, result) for call, result in zip(calls, results, strict=True))
        return
    workers = min(workers or joblib.cpu_count(), len(calls))
    if workers <= 1:
        yield from ((call.what, decode_recording(*call.arguments)) for call in calls)
        return
    executor = ProcessPoolExecutor(workers)
    try:
        futures = {executor.submit(decode_recording, *call.arguments): call.what for call in calls}
        for future in as_completed(futures):
            yield futures[future], future.result()
        executor.shutdown()
    except TerminatedWorkerError:
        some = ", ".join(call.what for call in calls[:3]) + (", ..." if len(calls) > 3 else "")
        raise UserError(
            f"a decoding process was killed (no memory left, or a video that crashes the decoder) in one of {some}",
            advice="run again, with speed.decode_workers=1 if it recurs; finished segments are kept",
        ) from None
    except BaseException:  # also when the results are no longer wanted: what still runs could take hours
        executor.shutdown(kill_workers=True)
        raise


@contextmanager
def _counted(files: Sequence[Path], bar: tqdm) -> Iterator[None]:
    """While the block runs, advances the bar as the files appear, whichever process or machine writes them."""
    waiting, ended = {file.name for file in files}, threading.Event()
    folder = files[0].parent

    def count() -> None:
        found = waiting.intersection(path.name for path in folder.iterdir()) if folder.is_dir() else set()
        waiting.difference_update(found)
        bar.update(len(found))

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            count()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        count()
