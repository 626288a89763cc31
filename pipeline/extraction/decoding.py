"""Decodes clips that are whole files in parallel and yields them in order. No TensorFlow here: workers import this.

Invariant: a clip's frames depend on its bytes and on the settings alone, whichever process decodes it. Memory is bounded by
CLIPS_IN_FLIGHT and BYTES_IN_FLIGHT, not by the number of clips.
"""

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.cluster import Call, Workers
from pipeline.console import UserError
from pipeline.extraction.clips import Clip
from pipeline.settings import Frames
from pipeline.video.decode import BrokenVideo, EncodedClip
from pipeline.video.encoding import encode_clip
from pipeline.video.images import encode_images

CLIPS_IN_FLIGHT = 64  # per worker: enough that workers seldom wait at the end of a batch; BYTES_IN_FLIGHT bounds large ones
BYTES_IN_FLIGHT = 256 * 2**20  # of videos in a batch; their JPEG frames take about as much


def encode_any(path: Path, fps: float, size: int, quality: int, image_rate: float | None) -> EncodedClip | BrokenVideo:
    """Encodes one clip, a video file or a folder of images; this runs in a worker process."""
    if not path.is_dir():
        return encode_clip(path, fps, size, quality)
    if image_rate is None:
        return BrokenVideo(path, "is a folder of images, and frames.image_rate is not set")
    return encode_images(path, image_rate, fps, size, quality)


def encode_clips(
    clips: Sequence[Clip], frames: Frames, clips_dir: Path, workers: int | None = None, cluster: Workers | None = None
) -> Iterator[EncodedClip | BrokenVideo]:
    """Yields the encoded clips in order.

    workers: processes on this machine; None: one per core. cluster: decodes there instead, if given.
    """
    arguments = (frames.fps, frames.size, frames.quality, frames.image_rate)
    if cluster is not None:
        folder = clips_dir.resolve()  # workers have working directories of their own
        calls = (Call((folder / clip.file, *arguments), clip.bytes, clip.id) for clip in clips)
        yield from cluster.in_order(encode_any, calls, ahead=CLIPS_IN_FLIGHT, most_bytes=BYTES_IN_FLIGHT)
        return
    workers = min(workers or joblib.cpu_count(), len(clips))
    if workers <= 1:
        yield from (encode_any(clips_dir / clip.file, *arguments) for clip in clips)
        return
    task = joblib.delayed(encode_any)
    with _quiet_exit(), joblib.Parallel(n_jobs=workers, return_as="generator", batch_size=1, pre_dispatch="all") as parallel:
        # joblib runs ahead of a slow reader, or of one slow clip, without bound, so it receives the clips in batches.
        for batch in _batches(clips, workers):
            try:
                results = parallel(task(clips_dir / clip.file, *arguments) for clip in batch)
                for result in results:
                    try:
                        yield result
                    except GeneratorExit:
                        deque(results, maxlen=0)  # joblib fails in its own threads when a batch is abandoned halfway
                        raise
            except TerminatedWorkerError:
                raise UserError(
                    f"a decoding process was killed (no memory left, or a video that crashes the decoder) between {batch[0].id} "
                    f"and {batch[-1].id}",
                    advice="run again, with speed.decode_workers=1 if it recurs; finished shards are kept",
                ) from None


def _batches(clips: Sequence[Clip], workers: int) -> Iterator[list[Clip]]:
    """Splits the clips into runs that may be in memory together, as JPEG frames."""
    batch: list[Clip] = []
    size = 0
    for clip in clips:
        if batch and (len(batch) == workers * CLIPS_IN_FLIGHT or size + clip.bytes > BYTES_IN_FLIGHT):
            yield batch
            batch, size = [], 0
        batch.append(clip)
        size += clip.bytes
    if batch:
        yield batch


@contextmanager
def _quiet_exit() -> Iterator[None]:
    """Suppresses joblib's warning about the tasks that it cancels when an error ends the work; the error says enough."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tasks which were still being processed", category=UserWarning)
        yield
