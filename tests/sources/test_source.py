"""The contract of a source: a kind with only the two required methods works in the download stage."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.sources.naming import ucf_group
from pipeline.sources.source import Clip, Found, Source, Stored
from stages import download
from tests.downloading import check_clips, workspace  # noqa: F401
from tests.sources.clips import data, speed, split, write_files


class PathList(Source):
    """A text file of paths, `<class>/<video>` per line, relative to its folder."""

    def __init__(self, file: Path):
        self.name, self.watch = str(file), file

    def list_clips(self) -> Found:
        paths = self.watch.read_text().split()
        clips = [Clip(p, p.split("/")[0], *ucf_group(p), size=(self.watch.parent / p).stat().st_size) for p in paths]
        return Found(clips, layout=f"{len(clips)} listed paths")

    def fetch(self, clips: Sequence[Clip]) -> Stored:
        return Stored(self.watch.parent, link=False)


def test_a_new_kind_of_source_needs_two_methods(tmp_path, monkeypatch):
    paths = [f"{name}/{number}.mp4" for name in ("jump", "run") for number in range(6)]
    write_files(tmp_path / "videos", *paths)
    (tmp_path / "videos/paths.txt").write_text("\n".join(paths))
    monkeypatch.setattr(download, "open_source", lambda data, speed: PathList(tmp_path / "videos/paths.txt"))
    done = download.run(data(folder="unused", split=split(scheme="auto")), 1, speed())
    check_clips(done.manifest)
    assert done.notes[0].message == "12 listed paths" and sorted(done.manifest["source"]) == paths


def test_a_source_without_the_required_methods_cannot_be_made():
    with pytest.raises(TypeError, match=r"abstract methods '?fetch'?,? '?list_clips"):
        type("Nothing", (Source,), {})()
