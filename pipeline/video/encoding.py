"""Encodes a video as JPEG frames, decoding only what these frames take. No TensorFlow here: worker processes import this.

A frame is left out if the output rate does not show it and no other frame refers to it: most B-frames, which are half to two
thirds of what encoders write, and most frames of codecs without references between frames.

Invariants:

- JPEGs and times are those of decoding every frame. The packets' timestamps tell which frames are shown. If a frame comes out
  otherwise than they tell, or anything is damaged, the video is decoded again, every frame of it.
- So damage is found as by decoding every frame, except in frames that are left out, where it changes nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from math import inf
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import cv2

from .clock import FrameClock, UselessTimesError
from .container import BrokenVideo, VideoFile
from .decode import EncodedClip, all_frames, encode_jpegs, exact_rate, sample

__all__ = ["encode_clip"]

# Codecs that mark the frames to which no other refers, and whose decoders leave these out on request.
MARKING = {"h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video", "vp8"}
Frames = Iterator[tuple[av.VideoFrame, int]]  # with the tick until which each is shown
PLACEHOLDER = 19  # bytes of a packet instead of a frame that the previous packet holds: MAX_NVOP_SIZE of FFmpeg's decoder
READ_AHEAD = 64  # packets: four times the frames by which the order of display may differ from that of decoding


class UnpredictableError(Exception):
    """The packets do not tell which frames come out and when, or something is damaged."""


class _Waiting(NamedTuple):
    """A packet to be decoded. timestamp: of the frame that comes out upon it; None if none comes out, or at the end."""

    packet: av.Packet | None
    timestamp: int | None
    size: int


class _Span(NamedTuple):
    """When a frame is shown, in ticks; duration: as its packet states it; shown: whether the output shows it."""

    timestamp: int | None
    start: int
    until: int
    duration: int
    shown: bool


class _Timetable:
    """The spans of the frames, from the timestamps of packets that have been read."""

    def __init__(self, clock: FrameClock) -> None:
        self._clock = clock
        self._pending: list[tuple[int, int]] = []  # timestamp and duration; a heap
        self._latest: tuple[int | None, int, int] | None = None  # timestamp, start, duration
        self._spans: deque[_Span] = deque()  # in order of display; of frames that have not come out
        self._shown: dict[int | None, bool] = {}  # whether the output shows it; of frames with spans whose packets wait

    def add(self, timestamp: int, duration: int) -> None:
        heappush(self._pending, (timestamp, duration))

    def settle(self, timestamp: float) -> None:
        """Every packet read from now on has a later timestamp than this one."""
        while self._pending and self._pending[0][0] <= timestamp:
            self._place(*heappop(self._pending))

    def finish(self, untimed: int | None) -> None:
        """Every packet has been read. untimed: duration of a last frame without a timestamp; None if there is none."""
        self.settle(inf)
        if untimed is not None:
            self._place(None, untimed)
        if self._latest is None:
            raise UnpredictableError
        self._know(self._clock.end)

    def _place(self, timestamp: int | None, duration: int) -> None:
        if self._latest is not None and timestamp is not None and timestamp <= self._latest[0]:
            raise UnpredictableError
        try:
            start = self._clock.tick(timestamp, timestamp, duration)
        except UselessTimesError:
            raise UnpredictableError from None
        if self._latest is not None:
            self._know(start)
        self._latest = timestamp, start, duration

    def _know(self, until: int) -> None:
        timestamp, start, duration = self._latest
        due = self._clock.due
        shown = -(-start // due) * due < until
        self._spans.append(_Span(timestamp, start, until, duration, shown))
        self._shown[timestamp] = shown

    def knows(self, timestamp: int | None) -> bool:
        return timestamp is None or timestamp in self._shown

    def shows(self, timestamp: int | None) -> bool:
        """Whether a packet's frame is shown; a packet without one is decoded as if it were."""
        return timestamp is None or self._shown[timestamp]

    def forget(self, timestamp: int | None) -> None:
        if timestamp is not None:
            del self._shown[timestamp]

    def take(self, timestamp: int | None, duration: int) -> _Span:
        """The span of a frame that has come out."""
        while self._spans:
            span = self._spans.popleft()
            if span.timestamp == timestamp and span.duration == duration:
                return span
            if span.shown:
                break
        raise UnpredictableError

    def check_end(self) -> None:
        if any(span.shown for span in self._spans):
            raise UnpredictableError


def _skippable(video: VideoFile) -> bool:
    context = video.codec_context
    if video.codec == "hevc":
        # With several temporal layers, "not referred to" means by its own layer. Of the configuration (ISO/IEC 14496-15,
        # 8.3.3.1) byte 21 holds their number.
        configuration = context.extradata or b""
        return len(configuration) > 21 and configuration[0] == 1 and configuration[21] >> 3 & 7 == 1
    return video.codec in MARKING or context.codec.intra_only


def shown_frames(video: VideoFile, clock: FrameClock) -> Frames:
    """The frames that the output shows, with the tick of `clock` until which each is shown. Raises UnpredictableError."""
    context, table = video.codec_context, _Timetable(clock)
    only_dts, intra_only, packing = video.only_dts, context.codec.intra_only, video.codec == "mpeg4"
    # An AVI has no presentation times: a frame gets the time of the packet upon which the decoder returns it. With B-frames that
    # is a packet later, so the first packet returns none, and the end of the file one that has no time.
    delayed, untimed = only_dts and context.has_b_frames, None
    waiting: deque[_Waiting] = deque()
    skipping = False

    def decode(packet: av.Packet | None) -> Frames:
        try:
            frames = context.decode(packet)
        except av.error.FFmpegError:
            raise UnpredictableError from None
        for frame in frames:
            span = table.take(frame.dts if only_dts else frame.pts, frame.duration)
            if frame.is_corrupt:
                raise UnpredictableError
            if span.shown:
                yield frame, span.until

    for packet in video.packets():
        if packet is None or packet.size == 0:
            table.finish(untimed)
            waiting.append(_Waiting(packet, None, 0))
        else:
            timestamp = packet.dts if only_dts else packet.pts
            if timestamp is None or packet.is_corrupt or len(waiting) == READ_AHEAD:
                raise UnpredictableError
            if delayed and untimed is None:
                untimed, timestamp = packet.duration, None
            elif packet.is_discard:
                timestamp = None
            else:
                table.add(timestamp, packet.duration)
            waiting.append(_Waiting(packet, timestamp, packet.size))
            if packet.dts is not None:
                table.settle(packet.dts)
        while len(waiting) > 1 and table.knows(waiting[0].timestamp) and table.knows(waiting[1].timestamp):
            one, following = waiting.popleft(), waiting[0]
            skip = not table.shows(one.timestamp)
            if packing and following.size <= PLACEHOLDER and table.shows(following.timestamp):
                skip = False  # an AVI may hold two frames in a packet, and then a placeholder
            table.forget(one.timestamp)
            if skip and intra_only:
                continue
            if skip != skipping:
                context.skip_frame, skipping = "NONREF" if skip else "DEFAULT", skip
            yield from decode(one.packet)
    for one in waiting:
        yield from decode(one.packet)
    table.check_end()
    if video.damage is not None or video.is_short(clock):
        raise UnpredictableError


def encode_clip(path: Path, fps: float, size: int, quality: int) -> EncodedClip | BrokenVideo:
    """Encodes the whole clip as JPEG frames of `quality`; runs in a worker process.

    Returns a broken video's error instead of raising it, because it must not end the work on other clips.
    """
    cv2.setNumThreads(1)  # the clips are the parallelism
    try:
        with VideoFile(path) as video:
            if _skippable(video):
                try:
                    return _encode(video, shown_frames, fps, size, quality)
                except UnpredictableError:
                    pass
            else:
                return _encode(video, all_frames, fps, size, quality)
        with VideoFile(path) as video:
            return _encode(video, all_frames, fps, size, quality)
    except BrokenVideo as error:
        return error


def _encode(
    video: VideoFile, decode: Callable[[VideoFile, FrameClock], Frames], fps: float, size: int, quality: int
) -> EncodedClip:
    rate = exact_rate(fps)
    clock = video.clock(rate)
    images = sample(video, decode(video, clock), clock.due, rate, size, "bgr24")
    jpegs, timestamps = encode_jpegs(images, quality, video.path)
    return EncodedClip(jpegs, timestamps, video.damage)
