"""The benchmark: its statistics, its rounds, its tables, the plain way's clips, and a run with the smallest settings."""

import csv
import os
import random
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmarks import codecs, growth, job, plain, table, timing, trials
from benchmarks import run as benchmark
from benchmarks.clips import CLASSES, render_clips, repeat_clips
from benchmarks.configuration import compose_job
from pipeline.console import UserError
from pipeline.files import read_json
from pipeline.params import Params
from pipeline.sources.folders import folder_clips

ROOT = Path(__file__).parent.parent
MACHINE = {"cores": 2, "processor": "a processor", "memory_gb": 24.0, "load_before": 0.1}
ABOUT = {
    "command": "python -m benchmarks.run --quick",
    "machine": MACHINE | {"tensorflow": "2.20.0", "litert": "2", "onednn": "1"},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """15 clips, three groups a class."""
    return render_clips(tmp_path_factory.mktemp("rendered") / "clips", 15, size=(64, 48), seconds=(1.0, 1.2))


def write_video(path: Path, frames: list[np.ndarray], fps: float = 25) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def test_the_spread_is_median_and_extremes():
    assert timing.spread([5.0, 1.0, 3.0]) == (3.0, 1.0, 5.0)
    assert timing.spread([4.0, 2.0]).median == 3.0
    with pytest.raises(ValueError, match="nothing"):
        timing.spread([])


def test_ratios_are_of_the_same_round():
    assert timing.ratios([10.0, 40.0, 30.0], [1.0, 2.0, 2.0]) == (15.0, 10.0, 20.0)
    with pytest.raises(ValueError, match="zip"):
        timing.ratios([1.0], [1.0, 2.0])


def recorder(done: list[str], name: str):
    def call() -> str:
        done.append(name)
        return f"{name}{len(done)}"

    return call


def test_the_ways_alternate_and_the_warm_up_does_not_count():
    done: list[str] = []
    ways = {name: recorder(done, name) for name in ("plain", "ours")}
    found, first = timing.alternate(ways, 3, describe="test", seconds=60)
    assert done == ["plain", "ours"] * 4
    assert found == {"plain": ["plain3", "plain5", "plain7"], "ours": ["ours4", "ours6", "ours8"]}
    assert first.keys() == ways.keys() and min(first.values()) > 0
    found, first = timing.alternate(ways, 1, describe="test", warm_up=False)
    assert found == {"plain": ["plain9"], "ours": ["ours10"]} and first == {}


def test_no_round_begins_when_the_time_is_over_but_one_is_made():
    found, _ = timing.alternate({"plain": lambda: 1, "ours": lambda: 2}, 5, describe="test", seconds=-1)
    assert found == {"plain": [1], "ours": [2]}


def test_a_quick_call_is_repeated(monkeypatch):
    clock = iter([0.0, 0.1, 0.2, 0.4])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    calls = []
    assert timing.seconds_a_call(lambda: calls.append(1)) == pytest.approx(0.4 / 3)
    assert len(calls) == 3


def rows() -> list[table.Row]:
    return [
        table.Row("forward", "speed", "forward a0", "a batch", (0.1, 0.2), (5.0, 8.0), "whole", "same"),
        table.Row("decode", "limit", "extraction", "a clip", (0.012,), (0.010,), "60 clips"),
        table.Row("stream", "time", "forward a0_stream", "a batch", (0.25,)),
    ]


def test_a_row_knows_which_way_its_ratio_goes():
    speed, limit, alone = rows()
    assert speed.ratio == (45.0, 40.0, 50.0)
    assert limit.ratio.median == pytest.approx(1.2)
    assert alone.ratio is None


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1234.5, "1,234"), (99.96, "100.0"), (12.34, "12.3"), (1.0, "1.00"), (0.01234, "0.0123")]
)
def test_numbers_have_three_digits(value, text):
    assert table.number(value) == text


def test_the_table_is_saved_in_three_forms_that_agree(tmp_path):
    text = table.save_comparisons(tmp_path, rows(), ABOUT, {"test accuracy": "plain 1, ours 1"})
    assert text == (tmp_path / "benchmark.md").read_text()
    for part in (
        "| forward a0 | 45.0 (40.0 to 50.0) | 6.50",
        "2 cores of a processor",
        "TensorFlow 2.20.0",
        "--quick`",
        "- test accuracy: plain 1, ours 1",
        "| extraction | 1.20 (1.20 to 1.20) | 0.0100",
    ):
        assert part in text
    content = read_json(tmp_path / "benchmark.json")
    assert content["machine"]["cores"] == 2 and content["facts"] == {"test accuracy": "plain 1, ours 1"}
    assert content["rows"][0]["ratio_median"] == 45.0
    assert content["rows"][0]["other"] == [5.0, 8.0]
    with open(tmp_path / "benchmark.csv") as file:
        read = list(csv.DictReader(file))
    assert [row["what"] for row in read] == ["forward a0", "extraction", "forward a0_stream"]
    assert [row["repeats"] for row in read] == ["2", "1", "1"]
    assert read[2]["ratio_median"] == ""


def test_quick_and_full_choose_what_is_not_given():
    quick = benchmark.parse_arguments(["--quick", "--repeats", "7"])
    assert (quick.models, quick.repeats, quick.steps) == (("a0",), 7, 1)
    full = benchmark.parse_arguments([])
    assert full.models == ("a0", "a1", "a2", "a3", "a4", "a5")
    assert (full.rows, full.steps) == (benchmark.ROWS, 0)
    assert benchmark.parse_arguments(["--models", "a3,a0,a3", "--rows", "job"]).models == ("a3", "a0")
    assert benchmark.parse_arguments(["--growth", "--sizes", "500,50"]).sizes == (50, 500)


@pytest.mark.parametrize(
    "wrong", [["--rows", "sleep"], ["--models", "b0"], ["--repeats", "0"], ["--steps", "x"], ["--sizes", "1"]]
)
def test_wrong_options_are_named(wrong, capsys):
    with pytest.raises(SystemExit):
        benchmark.parse_arguments(wrong)
    assert wrong[1] in capsys.readouterr().err


def test_options_that_do_not_go_together():
    options = benchmark.parse_arguments(["--models", "a0_stream_relu6"])
    with pytest.raises(UserError, match="a0_stream_relu6"):
        benchmark.run(options, "command")
    options = benchmark.parse_arguments(["--clips", "/no/such/folder"])
    with pytest.raises(UserError, match="no such folder"):
        benchmark.run(options, "command")


def test_rendered_clips_are_of_their_classes_and_move(clips):
    found = folder_clips(str(clips)).clips
    assert len(found) == 15
    assert {clip.category for clip in found} == set(CLASSES)
    assert {clip.number for clip in found} == {1, 2, 3}
    capture = cv2.VideoCapture(str(clips / "East" / "v_East_g01_c01.avi"))
    frames = [capture.read()[1] for _ in range(11)]
    assert frames[0].shape == (48, 64, 3)
    assert 25 <= capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 30
    moved, still = frames[10][:, :44].astype(int), frames[0].astype(int)  # 2 pixels a frame
    assert np.abs(moved - still[:, 20:]).mean() < 0.7 * np.abs(moved - still[:, :44]).mean()


def test_repeated_clips_keep_class_and_group(clips, tmp_path):
    found = folder_clips(str(repeat_clips(clips, 32, tmp_path / "many"))).clips
    assert len(found) == len({clip.source for clip in found}) == 32
    assert {(clip.category, clip.number) for clip in found} == {(name, group) for name in CLASSES for group in (1, 2, 3)}


def test_a_few_of_many_clips_are_of_every_class(clips, tmp_path):
    found = folder_clips(str(repeat_clips(clips, 7, tmp_path / "few"))).clips
    assert len(found) == 7
    assert {clip.category for clip in found} == set(CLASSES)


def test_a_plain_view_is_padded_to_a_square(tmp_path):
    path = write_video(tmp_path / "wide.avi", [np.full((32, 64, 3), (0, 0, 200), np.uint8)] * 30)  # red in BGR
    view = plain.read_view(path, 4, 16, 5, random.Random(0))
    assert view.shape == (4, 16, 16, 3)
    assert view.dtype == np.float32
    assert (view[:, :4] == 0).all() and (view[:, 12:] == 0).all()
    inside = view[:, 5:11]
    np.testing.assert_allclose(inside[..., 0], 200 / 255, atol=0.03)
    np.testing.assert_allclose(inside[..., 1:], 0, atol=0.03)


def test_a_plain_view_steps_through_the_video_and_ends_in_black(tmp_path):
    path = write_video(tmp_path / "ramp.avi", [np.full((32, 32, 3), 20 * number, np.uint8) for number in range(12)])
    view = plain.read_view(path, 4, 32, 5, random.Random(0))  # 25 frames a second: every fifth, from the first
    np.testing.assert_allclose(view[:, 16, 16, 0], np.array([0, 100, 200, 0]) / 255, atol=0.02)
    starts = {round(float(plain.read_view(path, 1, 32, 5, random.Random(seed))[0, 0, 0, 0]) * 255 / 20) for seed in range(20)}
    assert len(starts) > 4
    with pytest.raises(UserError, match="cannot read"):
        plain.read_view(tmp_path / "none.avi", 1, 32, 5, random.Random(0))


def job_of(clips: Path) -> Params:
    return compose_job(clips, model="a0", weights="random", count=2, size=32)


def test_the_plain_generator_gives_every_clip_once_in_a_new_order(clips):
    labelled = tuple((str(path), number % 3) for number, path in enumerate(sorted(clips.rglob("*.avi"))))
    frames = job_of(clips).frames
    views = plain.Views(labelled, frames, True, random.Random(1))
    epochs = [[(pixels, labels.numpy().tolist()) for pixels, labels in views.batches(8)] for _ in range(2)]
    assert [pixels.shape for pixels, _ in epochs[0]] == [(8, 2, 32, 32, 3), (7, 2, 32, 32, 3)]
    first, second = ([label for _, labels in epoch for label in labels] for epoch in epochs)
    assert sorted(first) == sorted(second) == [0] * 5 + [1] * 5 + [2] * 5
    assert first != second
    kept = plain.Views(labelled, frames, False, random.Random(1))
    assert [label for _, label in kept()] == [number % 3 for number in range(15)]


def test_the_plain_job_is_scaled_by_its_steps(clips):
    params = job_of(clips)
    labelled = tuple((str(number), 0) for number in range(20))
    whole = plain.Job(labelled, labelled[:9], 2, params.model, params.frames, params.finetune, 1)
    assert (whole.train_steps, whole.test_steps) == (3, 2)
    first = {"build": [5.0], "train": [30.0], "evaluate": [20.0]}
    result = job.scale_up(whole, first, {"build": [5.0], "train": [9.0, 11.0, 10.0], "evaluate": [8.0]})
    assert result["epoch"] == 30.0
    assert result["seconds"] == 5 + (30 - 10) + (20 - 8) + 6 * 10 + 4 * 8


def test_both_ways_do_the_same_job(clips):
    params = job_of(clips)
    assert params.embed.views == params.evaluate.views == 1
    assert (params.finetune.epochs, params.finetune.batch_size, params.frames.size, params.frames.fps) == (2, 8, 32, 5)
    assert (params.data.folder, params.data.split.scheme, params.frames.count) == (str(clips), "grouped", 2)
    assert (params.finetune.trainable, params.finetune.learning_rate, params.model.convolutions) == ("head", 1e-3, "fast")
    manifest = pd.DataFrame(
        {"clip": ["a", "b", "c"], "split": ["train", "test", "train"], "label": [0, 1, 1], "class": list("xyy")}
    )
    by_plain = plain.Job.of(params, manifest, Path("/clips"))
    assert (by_plain.train, by_plain.test) == ((("/clips/a", 0), ("/clips/c", 1)), (("/clips/b", 1),))
    assert (by_plain.classes, by_plain.model.convolutions, by_plain.finetune) == (2, "stock", params.finetune)


def test_a_job_has_the_size_of_its_network_where_none_is_asked_for(clips):
    params = compose_job(clips, model="a3", weights="random", count=8, size=None)
    assert (params.model.id, params.frames.size, params.frames.fps) == ("a3", 256, 12)


def test_growth_is_saved_and_drawn(tmp_path):
    points = [growth.Point("clips", "a0", clips, 0.7, clips / 20, clips / 10, 2.0, 10**9, clips * 10**5) for clips in (50, 500)]
    points += [growth.Point("model", model, 20, flops, 1.0, flops, 2.0, 10**9, 10**7) for model, flops in (("a0", 1), ("a1", 2))]
    text = growth.save_growth(tmp_path, points, ABOUT)
    assert "| a0 | 500 | 0.70 | 25.0 | 50.0 | 2.0 | 77.0 | 0.154 | 1.00 | 0.050 |" in text
    assert read_json(tmp_path / "benchmark_growth.json")["rows"][1]["seconds"] == 77.0
    assert cv2.imread(str(tmp_path / "benchmark_growth.png")).shape[1] > 1000


def test_warm_trials_change_one_setting_and_the_first_one_does_not_count(tmp_path, monkeypatch):
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(trials.subprocess, "run", run)
    clock, processor = trials.measure_trials(tmp_path / "clips", "a0", "random", 8, 32, 2, tmp_path)
    assert len(clock.ours) == len(processor.ours) == 2 and clock.kind == "time"
    clone, first, *warm = commands
    assert clone[:2] == ["git", "clone"] and first[1:5] == ["-m", "dvc", "exp", "run"]
    assert [command[len(first) :] for command in warm] == [["-S", f"{trials.CHANGED}={level}"] for level in ("0.94", "0.93")]
    assert all(command[: len(first)] == first for command in warm) and "frames.size=32" in first
    monkeypatch.setattr(trials.subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 1, "", "no"))
    with pytest.raises(UserError, match="the trial failed: no"):
        trials.run_trial(tmp_path, [])


def test_tensorflow_stays_out_of_the_parent():
    code = "import sys, benchmarks.run; sys.exit(any(name in sys.modules for name in ('tensorflow', 'tf_keras', 'mlflow')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_clips_are_encoded_again_with_every_frame(clips, tmp_path):
    import av

    source = next(clips.rglob("*.avi"))
    with av.open(str(source)) as video:
        expected = sum(1 for _ in video.decode(video=0))
    for title, (file,) in codecs.encode_again([source], tmp_path / "codecs").items():
        with av.open(str(file)) as video:
            assert abs(sum(1 for _ in video.decode(video=0)) - expected) <= 1, title
            assert (video.streams.video[0].height == 1080) == ("1080" in title)
        assert codecs.extract_each([file], compose_job(clips, model="a0", weights="random", count=2, size=32).frames) > 0


@pytest.mark.slow
def test_a_run_with_the_smallest_settings(clips, tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmarks.run",
        "--quick",
        "--rows",
        "decode,codecs,forward,job",
        "--size",
        "32",
        "--frames",
        "2",
    ]
    command += ["--repeats", "1", "--job-clips", "15", "--clips", str(clips), "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    content = read_json(tmp_path / "benchmark.json")
    assert {row["section"] for row in content["rows"]} == {"decode", "codecs", "forward", "arithmetic", "job"}
    assert all(row["repeats"] == 1 and row["ours_median"] > 0 for row in content["rows"])
    difference = next(row["note"] for row in content["rows"] if row["section"] == "forward").split()[3]
    assert float(difference) < 1e-4
    assert done.stdout.strip() == (tmp_path / "benchmark.md").read_text().strip()
    assert (tmp_path / "benchmark.csv").stat().st_size > 0
    assert "plain not measured, ours " in content["facts"]["test accuracy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benchmark.csv", "benchmark.json", "benchmark.md"]
