"""Connections to cameras and network streams: they open or fail in time, deliver frames in order, and say why they ended.

FFmpeg reads addresses, through PyAV as for files, because it says why it fails and tells the sample aspect ratio and rotation,
which OpenCV hides. OpenCV reads cameras, because it finds them on every system.

Invariants: no message contains the user, password or query of an address; every wait of FFmpeg for the network is limited.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

import pipeline.video.decode  # noqa: F401  # isort: skip  before OpenCV, which reads what this sets when it loads
import av
import av.error
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import VideoReformatter

from pipeline.video.container import MAX_PIXELS, Orientation, check_elongation
from pipeline.video.decode import finish_frame, frame_size, resize_frame

FILE_SCHEMES = ("http", "https")  # their addresses may be of a file, which has an end
SCHEMES = ("rtsp", "rtsps", "rtmp", "udp", *FILE_SCHEMES)
HEED = 0.5  # seconds after which a waiting thread looks for Ctrl-C, which does not always wake it
COMPLETE = 0.95  # share of its stated length, less a second, from which the end of a stream is not a cut
SEGMENTED = ("hls", "dash")  # FFmpeg's names of formats that are sent as files of several seconds, faster than they are shown

Picture = Callable[[int], np.ndarray]  # from the short side in pixels to the frame, uint8 RGB (H, W, 3), read-only
Result = TypeVar("Result")


class Lost(Exception):  # noqa: N818
    """A connection cannot be opened, or has ended; str() is the reason, a clause."""


class Header(NamedTuple):
    """What a stream says about itself: FFmpeg's name of its format, and its length in seconds, None if it has no end."""

    format: str
    seconds: float | None


class Connection(Protocol):
    """An open camera or stream. damaged: packets since its first frame that could not be decoded, or only in part."""

    damaged: int

    def pictures(self, stop: threading.Event) -> Iterator[Picture]:
        """Each frame as soon as it is there, until its regular end or until `stop` is set. Raises Lost if it is cut."""

    def close(self) -> None: ...


def interruptible(function: Callable[[], Result], seconds: float) -> Result:
    """Returns function(), called in a thread so that Ctrl-C does not wait for the network. Raises Lost after `seconds`."""
    outcome: list[tuple[Result | None, BaseException | None]] = []

    def call() -> None:
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=call, name="connecting", daemon=True)
    thread.start()
    until = time.monotonic() + seconds
    while not outcome and (left := until - time.monotonic()) > 0:
        thread.join(min(left, HEED))
    if not outcome:
        raise Lost(f"no answer within {seconds:g} s")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def _reason(error: av.error.FFmpegError, url: str) -> str:
    """Why `url` cannot be opened, without its credentials."""
    if isinstance(error, av.error.ConnectionRefusedError):
        return "the connection is refused: no server listens there"
    if isinstance(error, (av.error.InvalidDataError, av.error.OSError)):
        host = urlsplit(url).hostname
        try:
            socket.getaddrinfo(host, None)  # FFmpeg does not say that the name is unknown
        except OSError:
            return f"there is no host {host}"
    if type(error) in (av.error.InvalidDataError, av.error.OSError):  # the latter is "Input/output error"
        return "what it sends is not a video that FFmpeg can read"
    return (error.strerror or type(error).__name__).removeprefix("Server returned ")


def _finish(name: str, frame: av.VideoFrame, aspect: Fraction, size: int) -> np.ndarray:
    """A frame as players show it, as `pipeline.video.decode` does it for files."""
    image = VideoReformatter().reformat(frame, format="rgb24", interpolation="BICUBIC", threads=1).to_ndarray()
    width, height = frame.width * aspect.numerator, frame.height * aspect.denominator
    check_elongation(name, width, height)
    matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
    image = resize_frame(image, frame_size(width, height, size))
    if matrix is not None:
        image = Orientation.of(np.frombuffer(bytes(matrix), np.int32).tolist()).apply(image)
    image.flags.writeable = False
    return image


class StreamConnection:
    """A stream at an address that FFmpeg reads. Raises Lost if it cannot be opened within `timeout` seconds or has no video."""

    def __init__(self, name: str, url: str, timeout: float) -> None:
        self._name, self._timeout, self.damaged = name, timeout, 0
        parts = urlsplit(url)
        options = {}
        if parts.scheme in ("rtsp", "rtsps") and not {"udp", "multicast"} & set(parts.query.split("&")):
            options["rtsp_transport"] = "tcp"  # over UDP, which FFmpeg prefers, lost packets damage frames
        if parts.scheme == "udp":
            options["overrun_nonfatal"] = "1"
        began = time.monotonic()
        try:
            self._container = av.open(url, container_options=options, timeout=(timeout, timeout), metadata_errors="replace")
        except av.error.FFmpegError as error:
            # RTSP reports an interrupt, which is how FFmpeg's waits are limited, as another error.
            late = isinstance(error, av.error.ExitError) or time.monotonic() - began >= timeout
            raise Lost(f"no video within {timeout:g} s" if late else _reason(error, url)) from None
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            self._container.close()
            raise Lost("it holds no video" if stream is None else "its video codec has no decoder here")
        stream.codec_context.thread_type = "SLICE"  # threads that decode several frames at once delay each by as many
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        self._stream = stream
        self._aspect = Fraction(stream.sample_aspect_ratio) if stream.sample_aspect_ratio else Fraction(1)

    @property
    def header(self) -> Header:
        duration = self._container.duration
        return Header(self._container.format.name, duration / av.time_base if duration and duration > 0 else None)

    def close(self) -> None:
        self._container.close()

    def pictures(self, stop: threading.Event) -> Iterator[Picture]:
        wait = self._keep_pace if self.header.format in SEGMENTED else lambda frame, stop: None
        latest, first, last = time.monotonic(), None, 0.0
        for packet in self._packets():
            if stop.is_set():
                return
            try:
                frames = self._stream.codec_context.decode(packet) if packet.stream is self._stream else []
            except av.error.FFmpegError:  # the next packet may be good; before the first frame, what they refer to is missing
                self.damaged += first is not None
                frames = []
            for frame in frames:
                self.damaged += frame.is_corrupt and first is not None
                wait(frame, stop)
                yield partial(_finish, self._name, frame, self._aspect)
                latest = time.monotonic()
                last = frame.time or 0.0
                first = last if first is None else first
            if time.monotonic() - latest > self._timeout:
                raise Lost(f"data, but no frame of video for {self._timeout:g} s")
        length = self.header.seconds
        if length is None or last - (first or 0.0) < COMPLETE * length - 1:
            raise Lost("the server ended the stream")

    def _packets(self) -> Iterator[av.Packet]:
        packets = self._container.demux()  # all streams: sound must not hide that pictures are missing
        while True:
            asked, reason, interrupted = time.monotonic(), "", False
            try:
                packet = next(packets)
            except StopIteration:
                packet = None
            except av.error.FFmpegError as error:
                packet, reason = None, f"the stream broke off ({(error.strerror or type(error).__name__).lower()})"
                interrupted = isinstance(error, av.error.ExitError)
            # An interrupt need not be an error: some demuxers report the end, or return what they had received of a packet.
            if interrupted or time.monotonic() - asked >= self._timeout:
                raise Lost(f"no data for {self._timeout:g} s")
            if reason:
                raise Lost(reason)
            if packet is None:
                return
            yield packet

    _origin: float | None = None  # the clock's time of the presentation time 0

    def _keep_pace(self, frame: av.VideoFrame, stop: threading.Event) -> None:
        """Waits until a frame is to be shown: a segment comes at once, and its frames but the last would never be used."""
        if frame.time is None:
            return
        now = time.monotonic()
        if self._origin is None or abs(self._origin + frame.time - now) > self._timeout:  # at the start, or times start over
            self._origin = now - frame.time
        stop.wait(max(0.0, self._origin + frame.time - now))


def _finish_bgr(image: np.ndarray, size: int) -> np.ndarray:
    return finish_frame(image, frame_size(image.shape[1], image.shape[0], size))


class CameraConnection:
    """A camera by its number or, on Linux, its device's name."""

    damaged = 0

    def __init__(self, device: int | str) -> None:
        self._capture = cv2.VideoCapture(device, cv2.CAP_ANY if isinstance(device, int) else cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self._capture.release()
            raise Lost("no such camera, or another program uses it")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where supported, so that frames do not wait in a queue

    def close(self) -> None:
        self._capture.release()

    def pictures(self, stop: threading.Event) -> Iterator[Picture]:
        while not stop.is_set():
            if not self._capture.grab():
                raise Lost("it stopped delivering frames")
            converted, image = self._capture.retrieve()
            if not converted:
                raise Lost("it delivered a frame that cannot be converted")
            yield partial(_finish_bgr, image)
