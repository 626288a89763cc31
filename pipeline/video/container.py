"""An open video file: its video stream, every frame that can be decoded, and the damage found on the way. Uses PyAV (FFmpeg).

Invariants:

- Only pixels that the decoder wrote are returned. A frame that FFmpeg rejects or cannot convert is never returned.
- A damaged packet does not end decoding: the next packet is decoded, as the ffmpeg command does. Damage is counted, and the time
  of the first damage is kept.
- The expected length comes from the video stream alone. The container's duration is that of its longest stream, often audio.
- Frames are oriented as players show them: sample aspect ratio, rotation and mirroring are applied.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Self

import av
import av.error
import av.stream
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import VideoReformatter

from ..console import UserError  # relative, because a registered model brings this module along in a package of another name
from .clock import MAX_SOURCE_FPS, FrameClock, UselessTimesError

Packets = Iterator[av.Packet | None]
MAX_PIXELS = 1 << 26  # 8192 x 8192; a header with more is damaged, or crafted to exhaust memory
MAX_ELONGATION = 16  # long side / short side; frames are scaled by the short side, so a narrower strip would exhaust memory
_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_INDEXED = {"avi", "mov,mp4,m4a,3gp,3g2,mj2"}  # formats whose index, read on opening, has an entry per frame
_HINT = "re-encode it, e.g. ffmpeg -i IN -c:v libx264 OUT.mp4"


class BrokenVideo(UserError):  # noqa: N818
    """A video that cannot be used. reason: the message and the advice without the name of the file."""

    def __init__(self, path: Path | str, message: str, *, advice: str = "") -> None:
        super().__init__(f"{path}: {message}", advice=advice)
        self.path = Path(path)
        self.reason = f"{message}; {advice}" if advice else message


class Damage(NamedTuple):
    """What the decoder reported about a damaged video.

    Attributes:
      decoded: number of decoded frames.
      expected: number of frames according to the file.
      repaired: number of decoded frames in which the decoder concealed errors.
      at: seconds from the first frame to the first damage; None if frames are missing without an error.
    """

    decoded: int
    expected: int
    repaired: int
    at: float | None

    def __str__(self) -> str:
        """E.g. `decoded 70 of 77 frames: damaged data at 2.0 s`."""
        repaired = f", {self.repaired} of them repaired by the decoder" if self.repaired else ""
        where = "data is missing" if self.at is None else f"damaged data at {self.at:.1f} s"
        return f"decoded {self.decoded} of {self.expected} frames{repaired}: {where}"


class Fault(NamedTuple):
    """Damage in a video. time: in ticks of the clock. repaired: whether the decoder concealed it; else a frame is lost."""

    time: int
    repaired: bool


class Gap(NamedTuple):
    """A number of packets that nothing needs. resume: timestamp of the keyframe after them; None if unknown."""

    packets: int
    resume: int | None


class Orientation(NamedTuple):
    """How a decoded frame is oriented for display: transposed first, then mirrored horizontally, then flipped vertically."""

    transpose: bool = False
    mirror: bool = False
    flip: bool = False

    @classmethod
    def of(cls, matrix: Sequence[int]) -> Self:
        """From a display matrix (libavutil/display.h): x' = a x + c y, y' = b x + d y; rounds to quarter turns."""
        a, b, _, c, d, *_ = matrix
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Orients an image (H, W, 3); returns it contiguous."""
        if self == Orientation():
            return image
        image = image.swapaxes(0, 1) if self.transpose else image
        image = image[:, ::-1] if self.mirror else image
        return np.ascontiguousarray(image[::-1] if self.flip else image)


def _text(error: av.error.FFmpegError) -> str:
    return (error.strerror or type(error).__name__).lower()


def check_elongation(path: Path, width: int, height: int) -> None:
    """Raises BrokenVideo for a strip longer than MAX_ELONGATION; only the ratio of `width` to `height` means anything."""
    if max(width, height) > MAX_ELONGATION * min(width, height):
        message = f"one side of its frames is more than {MAX_ELONGATION} times the other"
        raise BrokenVideo(path, message, advice="crop it to the action")


class VideoFile:
    """A video file that can be read once. A context manager.

    Attributes:
      fps: the header's frame rate; None if unusable.
      codec: FFmpeg's name of the video codec, e.g. h264.
      decoded: number of frames decoded so far. damage: None if there is none; complete after the last frame.
      faults: those found so far. ended_early: whether the rest of the file could not be read.

    Raises BrokenVideo, also on entry, if the file is absent, empty, not a video, or its codec has no decoder.
    """

    def __init__(self, path: Path, threads: int = 1, formats: Sequence[str] = ()) -> None:
        """threads: of the decoder. formats: FFmpeg's names of the containers that may be opened; empty: all."""
        self.path = Path(path)
        self._threads = threads
        self._formats = tuple(formats)
        self.decoded = self._skipped = self._packets = self._discarded = 0
        self.faults: list[Fault] = []
        self.ended_early = False
        self._reformatter = VideoReformatter()

    def __enter__(self) -> Self:
        if not self.path.is_file():
            raise BrokenVideo(self.path, "there is no such file")
        if self.path.stat().st_size == 0:
            raise BrokenVideo(self.path, "the file is empty")
        self._open()
        try:
            self._stream = self._video_stream()
            if self._container.format.name == "avi" and 1 < self._indexed(self._stream) < self._stream.frames:
                # FFmpeg stops at the end of a damaged index. If it cannot seek to the index, it finds all frames.
                self._container.close()
                self._open(seekable="0")
                self._stream = self._video_stream()
        except BaseException:
            self._container.close()
            raise
        return self

    def _open(self, **options: str) -> None:
        if self._formats:
            options["format_whitelist"] = ",".join(self._formats)
        try:
            # `file:` and an absolute path, because FFmpeg interprets text before a colon as a protocol.
            self._container = av.open(f"file:{self.path.resolve()}", container_options=options, metadata_errors="replace")
        except PermissionError:  # before FFmpegError, of which it is a subclass
            raise BrokenVideo(self.path, "may not be read", advice="change its permissions") from None
        except av.error.FFmpegError:
            allowed = f" as {', '.join(self._formats)}" if self._formats else ""
            problem = f"FFmpeg cannot read it{allowed}: not a video, or its header is damaged or cut off"
            raise BrokenVideo(self.path, problem) from None

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def _video_stream(self) -> av.VideoStream:
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in self._container.streams.video if not stream.disposition & cover]
        if not streams:
            raise BrokenVideo(self.path, "holds no video stream, only audio or cover art")
        stream = self._container.streams.best("video")
        stream = stream if stream in streams else streams[0]
        context = stream.codec_context
        if context is None:
            raise BrokenVideo(self.path, "its video codec has no decoder here", advice=_HINT)
        context.thread_type, context.thread_count = ("AUTO", self._threads) if self._threads > 1 else ("NONE", 1)
        context.options = {"max_pixels": str(MAX_PIXELS)}
        self.codec = context.codec.canonical_name
        rate = stream.guessed_rate
        self.fps = rate.limit_denominator(1001) or None if rate is not None and 0 < rate <= MAX_SOURCE_FPS else None
        self._header_fps = rate
        self._promised = max(self._indexed(stream), stream.frames)
        ratio = stream.sample_aspect_ratio
        self._aspect = Fraction(ratio) if ratio else Fraction(1)
        return stream

    def _indexed(self, stream: av.VideoStream) -> int:
        """Number of frames in the file's index; 0 for formats whose index does not name every frame."""
        return sum(entry.size > 0 for entry in stream.index_entries) if self._container.format.name in _INDEXED else 0

    @property
    def shown_size(self) -> tuple[int, int]:
        """(width, height) in square pixels according to the header; rotation, which frames carry, is not applied."""
        return round(self._stream.codec_context.width * self._aspect), self._stream.codec_context.height

    @property
    def seconds(self) -> float | None:
        """Duration of the video according to the header; None if it states none."""
        return self._stream_seconds() or (self._container.duration or 0) / av.time_base or None

    @property
    def intended_seconds(self) -> float | None:
        """Duration of the video stream alone when the file was written: longer than `seconds` for an AVI that was cut off."""
        if self._container.format.name == "avi" and self._promised and self.fps:
            return float(self._promised / self.fps)
        return self._stream_seconds()

    def _stream_seconds(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        if self._promised and self.fps:
            return float(self._promised / self.fps)
        return self._promised_seconds()

    def _promised_seconds(self) -> float | None:
        """Length of the stream alone, from Matroska's statistics tag, which counts from 0 and not from the first frame."""
        match = _DURATION.match(self._stream.metadata.get("DURATION", ""))
        if not match:
            return None
        start = float((self._stream.start_time or 0) * self._stream.time_base)
        return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) - start

    def clock(self, rate: Fraction) -> FrameClock:
        """A clock for this file's frames and an output of `rate` frames a second."""
        return FrameClock(self._stream.time_base, self.fps, rate, only_dts=self.only_dts)

    @property
    def codec_context(self) -> av.VideoCodecContext:
        """The decoder, for those who decode `packets` themselves."""
        return self._stream.codec_context

    @property
    def only_dts(self) -> bool:
        """Whether frames have the time of the packet upon which the decoder returns them: an AVI stores no presentation times."""
        return self._container.format.name == "avi"

    def frames(
        self, clock: FrameClock, choose: Callable[[Packets], Iterator[av.Packet | Gap | None]] = iter
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Each frame that can be decoded, in display order, with the tick of `clock` at which it starts.

        choose: puts a Gap in place of packets that need not be decoded.

        Raises BrokenVideo if there is none or times are unusable, or, after the last frame, if less than half of the file could
        be decoded.
        """
        self._clock, error, resume = clock, None, None
        context = self._stream.codec_context
        for packet in choose(self.packets()):
            gap = packet if isinstance(packet, Gap) else None
            try:
                frames = context.decode(None if gap else packet)
            except av.error.FFmpegError as failure:
                error, frames = error or failure, []
                timestamp = None if packet is None or gap else packet.dts if packet.pts is None else packet.pts
                self._note_fault(timestamp, repaired=False)
            for frame in frames:
                if resume is not None and frame.pts is not None and frame.pts < resume:
                    continue  # refers to a frame in the gap
                try:
                    time = clock.tick(frame.pts, frame.dts, frame.duration)
                except UselessTimesError:
                    rate = f"{float(self._header_fps or 0):g} frames per second"
                    message = f"no usable times: its header states {rate}, and its frames have no better times"
                    raise BrokenVideo(self.path, message) from None
                self.decoded += 1
                if frame.is_corrupt:
                    self._note_fault(frame.pts, repaired=True)
                yield time, frame
            if gap:
                context.flush_buffers()
                self._skipped += gap.packets
                resume = gap.resume
        if not self.decoded:
            why = f" ({_text(error)})" if error else ""
            raise BrokenVideo(self.path, f"no frame of its {self.codec} video can be decoded{why}", advice=_HINT)
        self._check_length(clock)

    def _note_fault(self, timestamp: int | None, *, repaired: bool) -> None:
        time = self._clock.time if timestamp is None else self._clock.elapsed(timestamp)
        self.faults.append(Fault(time, repaired))

    def packets(self) -> Iterator[av.Packet | None]:
        """The stream's packets; at the end an empty one, or None, which flushes the decoder."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:
                self.ended_early = True  # as in the ffmpeg command: the rest of the file cannot be demuxed
                yield None
                return
            if packet.size == 0 and packet.dts is not None:
                continue  # an AVI repeats the previous frame by an empty packet, which to a decoder means the end of the file
            self._packets += packet.size > 0
            self._discarded += packet.size > 0 and packet.is_discard
            yield packet

    def _check_length(self, clock: FrameClock) -> None:
        """Raises BrokenVideo for a truncated file. Headers are often slightly wrong, but not by half of both frames and time."""
        promised = self._promised - self._discarded - self._skipped
        if 2 * self.decoded < promised and (clock.period is None or 2 * clock.end < promised * clock.period):
            raise BrokenVideo(self.path, f"truncated: {self.decoded} of the {promised} frames that it should hold can be decoded")
        if self.is_short(clock):
            found = f"{clock.seconds(clock.end):.1f} of the {self._promised_seconds():.1f} seconds"
            raise BrokenVideo(self.path, f"truncated: {found} that it should last can be decoded")

    def is_short(self, clock: FrameClock) -> bool:
        """Whether the frames end before half of the time that the file states for the stream."""
        seconds = self._promised_seconds()
        return seconds is not None and 2 * clock.seconds(clock.end) < seconds

    @property
    def damage(self) -> Damage | None:
        """The damage, once `frames` has ended; None if there is none."""
        lost = max(self._promised - self._packets, 0)
        if not (lost or self.faults or self.ended_early):
            return None
        at = self._clock.seconds(self.faults[0].time) if self.faults else None
        repaired = sum(fault.repaired for fault in self.faults)
        return Damage(self.decoded, max(self._promised, self._packets) - self._discarded, repaired, at)

    def pixels(self, frame: av.VideoFrame, layout: str) -> np.ndarray:
        """A frame as stored, uint8 (H, W, 3), in `layout` rgb24 or bgr24. Raises BrokenVideo if it cannot be converted."""
        try:
            # Bicubic, as in the ffmpeg command; it matters if chroma is interpolated, e.g. of 10-bit video.
            return self._reformatter.reformat(frame, format=layout, interpolation="BICUBIC", threads=1).to_ndarray()
        except (av.error.FFmpegError, ValueError) as error:
            message = f"a frame in {frame.format.name} cannot be converted ({error})"
            raise BrokenVideo(self.path, message, advice=_HINT) from None

    def shape(self, frame: av.VideoFrame) -> tuple[int, int, Orientation]:
        """(width, height, orientation): proportions of a frame as stored, in square pixels, and its orientation for display.

        Only the ratio of width to height means anything. Raises BrokenVideo for a strip longer than MAX_ELONGATION.
        """
        width, height = frame.width * self._aspect.numerator, frame.height * self._aspect.denominator
        check_elongation(self.path, width, height)
        matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
        if matrix is None:
            return width, height, Orientation()
        return width, height, Orientation.of(np.frombuffer(bytes(matrix), np.int32).tolist())
