"""The kind of a file by its first bytes. Signatures of formats that no test writes are those of FFmpeg's demuxers."""

import pytest

from pipeline.sources.content import HEAD, kind_of, not_a_video
from pipeline.sources.left_out import NOT_VIDEO, NOT_WHAT_IT_SAYS

PACKET = b"\x47\x40\x11\x10" + bytes(184)
VIDEOS = {
    "mp4": b"\x00\x00\x00\x20ftypisom" + bytes(20),
    "quicktime without ftyp": b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat",
    "avi": b"RIFF\x00\x10\x00\x00AVI LIST",
    "webm": b"\x1a\x45\xdf\xa3\x01\x00\x00\x00",
    "flv": b"FLV\x01\x05\x00\x00\x00\x09",
    "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",
    "vob": b"\x00\x00\x01\xba\x44\x00",
    "mpeg-2 video": b"\x00\x00\x01\xb3\x14\x00",
    "ts": PACKET * 8,
    "m2ts": (b"\x00\x01\x02\x03" + PACKET) * 8,
    "ts that begins mid-packet": PACKET[100:] + PACKET * 8,
    "ogv": b"OggS\x00\x02" + bytes(22) + b"\x01*\x80theora\x03",
    "mxf": b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02\x04\x00",
    "3gp": b"\x00\x00\x00\x18ftyp3gp4",
    "gif": b"GIF89a\x10\x00",
    "h264": b"\x00\x00\x00\x01\x67\x42\x00",
    "y4m": b"YUV4MPEG2 W160 H120 F25:1\n",
}


@pytest.mark.parametrize("name", VIDEOS)
def test_videos_are_known_by_content_whatever_their_suffix(name, tmp_path):
    assert kind_of(VIDEOS[name][:HEAD]) == "video"
    for suffix in ("", ".bin", ".MTS", ".mp4"):
        path = tmp_path / f"clip{suffix}"
        path.write_bytes(VIDEOS[name])
        assert not_a_video(path) is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"name,class\n1,walk\n", "text"),
        ("bewegung: \u00fc\u4e2d\n".encode() * 400, "text"),
        (b"<!DOCTYPE html><html>video removed</html>", "text"),
        (b"free text that only begins as QuickTime might: free mdat", "text"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"\x00\x00\x00\x18ftypheic", "image"),
        (b"\x00\x00\x00\x18ftypM4A ", "audio"),
        (b"OggS\x00\x02" + bytes(22) + b"\x01\x1eOpusHead", "audio"),
        (b"RIFF\x00\x10\x00\x00WAVEfmt ", "audio"),
        (b"PK\x03\x04\x14\x00", "archive"),
        (bytes(3000), "unknown"),
        (b"", "unknown"),
    ],
)
def test_other_files_are_not(content, kind, tmp_path):
    assert kind_of(content[:HEAD]) == kind
    (tmp_path / "file").write_bytes(content)
    assert not_a_video(tmp_path / "file") is NOT_VIDEO
    (tmp_path / "file.mp4").write_bytes(content)
    # Damaged videos may begin with any bytes; `extract` opens and reports them.
    assert not_a_video(tmp_path / "file.mp4") is (None if kind == "unknown" else NOT_WHAT_IT_SAYS)


def test_plainly_other_files_are_not_opened(tmp_path):
    for name in ("gone.txt", "gone.csv", "gone.jpg", "gone.db"):
        assert not_a_video(tmp_path / name) is NOT_VIDEO
    with pytest.raises(FileNotFoundError):
        not_a_video(tmp_path / "gone.bin")
