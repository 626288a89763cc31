"""The latency command: how it times, what it writes, and once for real on a small network."""

import json
import time

import numpy as np
import pytest

from benchmarks import latency, streams
from benchmarks.latency import PUBLISHED, draw, lines_of
from benchmarks.streams import FEWEST, WARM_UP, Latency, frame_seconds
from pipeline.console import UserError
from pipeline.models.movinet.network.variants import VARIANTS

ROWS = [
    Latency("a0_stream", "float32", 1, 172, 10_250_000, 1_500_000, 300, 3.0, 2.5, 4.0, 2.25),
    Latency("a0_stream", "float32", 2, 172, 10_250_000, 1_500_000, 400, 2.0, 1.5, 3.0, 1.25),
    Latency("a0_stream_relu6", "int8", 1, 172, 3_100_000, 1_500_000, 100, 123.456, 100.0, 200.0, 98.7),
]


class Sleeper:
    """A stream of which every frame takes the same time."""

    size = 8

    def __init__(self, seconds):
        self.seconds, self.sizes, self.resets = seconds, [], 0

    def reset(self):
        self.resets += 1

    def step(self, image):
        assert image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1
        self.sizes.append(image.shape)
        time.sleep(self.seconds)


def test_frames_are_timed_one_by_one_after_a_warm_up():
    stream = Sleeper(0.002)
    times = frame_seconds(stream, 0.1)
    assert stream.resets == 1 and set(stream.sizes) == {(8, 8, 3)}
    assert len(times) == len(stream.sizes) - WARM_UP
    assert 10 <= len(times) <= 50 and min(times) >= 0.002
    assert len(frame_seconds(stream, 0.0)) == FEWEST


def test_the_table_has_ours_and_the_published_apart():
    text = "\n".join(lines_of(ROWS, "random"))
    assert "| a0_stream | float32 | 1 | 172 | 3.00 (2.50 to 4.00) | 2.25 | 300 | 10.25 | 1.50 |" in text
    assert "| a0_stream_relu6 | int8 | 1 | 172 | 123 (100 to 200) | 98.7 | 100 | 3.10 | 1.50 |" in text
    ours, _, published = text.partition("Published, not measured here")
    assert "| a0_stream | 172 | 22 | 16 |" in published and "relu6" not in published and "Pixel" not in ours


def test_published_times_are_of_the_networks_own_sizes():
    assert {model: times.size for model, times in PUBLISHED.items()} == {
        variant.id: variant.resolution for variant in VARIANTS.values() if variant.stream and variant.id != "a0_stream_relu6"
    }
    assert [times.pixel4 for times in PUBLISHED.values()] == [22, 42, 200, None, None, None]
    assert [times.x86 for times in PUBLISHED.values()] == [16, 33, 66, 120, 300, 450]


def test_the_plot_is_drawn(tmp_path):
    draw(ROWS, tmp_path / "latency.png")
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "a0"], "'a0' is not one of a0_stream"),
        (["--formats", "float32,int4"], "'int4' is not one of float32, float16"),
        (["--threads", "0"], "'0' is not a whole number of at least 1"),
        (["--seconds", "soon"], "'soon' is not a number of seconds, 0 to 3600"),
        (["--seconds", "3601"], "'3601' is not a number of seconds"),
    ],
)
def test_bad_options_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        latency.parse_arguments(arguments)
    assert message in capsys.readouterr().err


def test_one_checkpoint_is_for_one_network(tmp_path):
    options = latency.parse_arguments(["--weights", "a0.tar.gz", "--out", str(tmp_path)])
    with pytest.raises(UserError, match=r"one checkpoint fits one network; name it, e\.g\. --models a0_stream"):
        latency.run(options, "")


def test_every_network_is_saved_as_soon_as_it_is_measured(tmp_path, monkeypatch):
    def measure(model, folder, **settings):
        if model == "a1_stream":
            raise UserError("killed")
        assert settings["size"] is None and settings["threads"] == (3, 1) and folder.is_dir()
        return ROWS

    monkeypatch.setattr(latency, "measure_streams", measure)
    options = latency.parse_arguments(["--threads", "3,1,3", "--out", str(tmp_path)])
    with pytest.raises(UserError, match="killed"):
        latency.run(options, "the command")
    saved = json.loads((tmp_path / "latency.json").read_text())
    assert saved["command"] == "the command" and [row["median"] for row in saved["rows"]] == [3.0, 2.0, 123.456]
    assert saved["published"]["milliseconds"]["a1_stream"] == {"size": 172, "pixel4": 42, "x86": 33}
    assert {path.name for path in tmp_path.iterdir()} == {"latency.json", "latency.csv", "latency.md", "latency.png"}


@pytest.mark.slow
def test_a_small_network(tmp_path):
    formats = ("float32", "dynamic", streams.SAVED_MODEL, streams.CLASSIFIER)
    arguments = ["--models", "a0_stream", "--size", "32", "--seconds", "0.2", "--threads", "1", "--out", str(tmp_path)]
    arguments += ["--formats", ",".join(formats)]
    text = latency.run(latency.parse_arguments(arguments), "")
    rows = {row["format"]: row for row in json.loads((tmp_path / "latency.json").read_text())["rows"]}
    assert tuple(rows) == formats and text == (tmp_path / "latency.md").read_text()
    assert 2 * rows["dynamic"]["bytes"] < rows["float32"]["bytes"]
    # That of OpenVINO has no numbers of frames.
    assert len({row["state_bytes"] for name, row in rows.items() if name != streams.CLASSIFIER}) == 1
    assert rows[streams.CLASSIFIER]["state_bytes"] == pytest.approx(rows["float32"]["state_bytes"], rel=0.01)
    assert rows["float32"]["state_bytes"] > 10_000
    for row in rows.values():
        assert 0 < row["fastest"] <= row["low"] <= row["median"] <= row["high"] < 1000 and row["frames"] >= 25
