"""The kind of a file by its first bytes, because suffixes are often wrong, rare or missing.

The signatures are those that FFmpeg's demuxers probe for. An unrecognised file with a video's suffix counts as a video, so that
`extract`, which opens it, reports a damaged one.
"""

from pathlib import Path, PurePosixPath
from typing import Literal

from pipeline.sources.left_out import NOT_VIDEO, NOT_WHAT_IT_SAYS, Reason
from pipeline.sources.naming import is_image, is_video

__all__ = ["HEAD", "Kind", "kind_of", "not_a_video"]

Kind = Literal["video", "text", "image", "audio", "archive", "unknown"]

HEAD = 2048  # bytes that are read: enough for three packets of a transport stream and the first pages of an Ogg file
_VIDEO = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\xb7\xd8\x00\x20\x37\x49\xda\x11",  # WTV
    b"\x00\x00\x01\xba",  # MPEG program stream, VOB
    b"\x00\x00\x01\xb3",  # MPEG-1 and -2 video
    b"\x00\x00\x01\xb0",  # MPEG-4 part 2 video
    b"\x00\x00\x00\x01\x67", b"\x00\x00\x00\x01\x27", b"\x00\x00\x00\x01\x09", b"\x00\x00\x01\x67",  # H.264
    b"\x00\x00\x00\x01\x40\x01",  # H.265
    b"IMKH", b"DHAV",  # surveillance recorders: Hikvision, Dahua
    b".RMF", b"DKIF", b"YUV4MPEG2 ", b"nut/multimedia container", b"GIF87a", b"GIF89a",
    b"\x1f\x07\x00",  # DV
)  # fmt: skip
_OTHER: tuple[tuple[bytes, Kind], ...] = (
    (b"\xff\xd8\xff", "image"),
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"II*\x00", "image"),
    (b"MM\x00*", "image"),
    (b"ID3", "audio"),
    (b"fLaC", "audio"),
    (b"PK\x03\x04", "archive"),
    (b"PK\x05\x06", "archive"),
    (b"Rar!\x1a\x07", "archive"),
    (b"7z\xbc\xaf\x27\x1c", "archive"),
    (b"\x1f\x8b\x08", "archive"),
)
_MXF = b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02"
_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif", b"crx ")
_AUDIO_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"aax ")
_OGG_VIDEO = (b"\x80theora", b"BBCD", b"OVP80", b"\x01video")
# Files with these suffixes are common next to videos and never videos, so they are not opened.
_PLAIN = {
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".htm", ".srt", ".vtt", ".ass", ".db",
    ".ini", ".py", ".ipynb", ".npy", ".npz", ".pkl", ".pt", ".h5", ".mat", ".zip", ".gz", ".tar", ".rar", ".7z", ".pdf", ".mp3",
    ".wav", ".flac", ".m4a", ".aac", ".wma", ".log", ".lnk", ".url",
}  # fmt: skip


def kind_of(head: bytes) -> Kind:
    """The kind of a file that starts with `head`, its first `HEAD` bytes."""
    if head.startswith(_VIDEO) or _MXF in head:
        return "video"
    for signature, kind in _OTHER:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF":
        kinds: dict[bytes, Kind] = {b"AVI ": "video", b"AVIX": "video", b"AMV ": "video", b"WAVE": "audio", b"WEBP": "image"}
        return kinds.get(head[8:12], "unknown")
    if head[:4] == b"OggS":
        return "video" if any(mark in head for mark in _OGG_VIDEO) else "audio"
    if head[4:8] == b"ftyp":
        return "image" if head[8:12] in _STILL_BRANDS else "audio" if head[8:12] in _AUDIO_BRANDS else "video"
    # QuickTime without ftyp; the length before the name excludes English words.
    if head[4:8] in (b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot") and head[0] < 0x20:
        return "video"
    if _is_text(head):
        return "text"
    return "video" if _is_transport_stream(head) else "unknown"


def _is_transport_stream(head: bytes) -> bool:
    """MPEG-TS: a sync byte every 188 bytes, 192 with time codes (.mts, .m2ts) or 204 with parity; it may start mid-packet."""
    return any(
        all(head[start + number * length] == 0x47 for number in range(4))
        for length in (188, 192, 204)
        for start in range(min(length, len(head) - 3 * length))
    )


def _is_text(head: bytes) -> bool:
    if not head or any(byte < 0x20 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return False
    try:
        head[:-3].decode() if len(head) >= HEAD else head.decode()
    except UnicodeDecodeError as error:
        return len(head) >= HEAD and error.start >= len(head) - 6  # a character cut at the end
    return True


def not_a_video(path: Path) -> Reason | None:
    """Why the file is not used as a video; None if it is one. Raises OSError if it cannot be read.

    A file whose suffix is that of a still image, text, sound or an archive is not opened.
    """
    suffix = PurePosixPath(path.name).suffix.lower()
    if suffix in _PLAIN or is_image(path.name):
        return NOT_VIDEO
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD))
    if kind == "video" or (kind == "image" and suffix in (".mjpg", ".mjpeg")):
        return None
    if not is_video(path.name):
        return NOT_VIDEO
    return None if kind == "unknown" else NOT_WHAT_IT_SAYS
