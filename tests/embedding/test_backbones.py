"""A saved backbone is built once, whole or not at all, and the least recently used ones are removed."""

import os
from pathlib import Path

import pytest

from pipeline.embedding import backbones
from pipeline.embedding.backbones import saved_backbone


class Backbone:
    def __init__(self, fails: bool = False):
        self.saved, self.fails = [], fails

    def save(self, folder: Path, views: int) -> None:
        self.saved.append(views)
        (folder / "network").write_text(f"{views} views")
        if self.fails:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def test_it_is_built_once_for_each_key():
    backbone = Backbone()
    for views, key in ((2, "a"), (2, "a"), (2, "b"), (3, "a")):
        with saved_backbone(backbone, views, key) as folder:
            assert (folder / "network").read_text() == f"{views} views"
    assert backbone.saved == [2, 2, 3]


def test_an_interrupted_one_is_not_there():
    with pytest.raises(KeyboardInterrupt), saved_backbone(Backbone(fails=True), 2, "a"):
        pass
    again = Backbone()
    with saved_backbone(again, 2, "a"):
        pass
    assert again.saved == [2]


def test_of_many_the_last_used_stay_and_those_in_use(monkeypatch):
    monkeypatch.setattr(backbones, "KEPT", 2)
    with saved_backbone(Backbone(), 2, "in use") as used:
        os.utime(used, (1, 1))
        for number, key in enumerate("abc"):
            with saved_backbone(Backbone(), 2, key) as folder:
                os.utime(folder, (10 + number, 10 + number))
        with saved_backbone(Backbone(), 2, "a") as kept:
            pass
        with saved_backbone(Backbone(), 2, "d") as newest:
            names = {path.name for path in newest.parent.iterdir() if path.is_dir()}
            assert names == {used.name, kept.name, newest.name}
