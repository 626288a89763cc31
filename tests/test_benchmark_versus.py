"""The benchmark against other libraries: its tables from recorded numbers, what it refuses, and its own side once for real."""

import itertools
import json
import random
import sys
from pathlib import Path

import pytest

from benchmarks.clips import render_clips
from benchmarks.versus import others, ours, results, run
from benchmarks.versus.clock import Cost, cost_of
from benchmarks.versus.published import PUBLISHED
from pipeline.console import UserError

MEGA = 10**6


def recorded(scale: float, head_step: float) -> results.Round:
    """A round in which a decode takes 0.1 s, a forward 0.5 s and a whole step 2 s, times `scale`."""
    costs = {
        "decode": [0.1 * scale, 0.1],
        "forward": [0.5 * scale, 0.3],
        "head_step": [head_step, 0.1],
        "whole_step": [2 * scale, 1],
    }
    memory = {"inference_memory": 900 * MEGA, "training_memory": 2500 * MEGA}
    return results.parse_round(json.dumps({"costs": costs, "frames": 50, "size": 172, "parameters": 3_100_000} | memory))


FOUND = {
    "a0": [recorded(1, 0.01), recorded(2, 0.01), recorded(1, 0.01)],
    "mvit_v2_s": [recorded(10, 6), recorded(40, 24), recorded(30, 18)],
}


def test_a_head_on_cached_features_costs_one_pass_and_others_one_an_epoch():
    assert results.head_job("a0", FOUND["a0"][0].costs) == pytest.approx(0.1 + 0.5 + 10 * 0.01)
    assert results.head_job("a0_tutorial", FOUND["a0"][0].costs) == pytest.approx(10 * (0.1 + 0.01))


def test_the_tables_have_medians_and_the_ratios_of_each_round():
    text = "\n".join(results.lines_of(FOUND, 1))
    assert "median of 3 rounds; batches of 1" in text
    assert "| MoViNet-A0 | 50 x 172 | 3.1 | 69.4 | 72.3 | 1 | 0.100 | 0.500 | 0.0100 | 2.00 | 0.700 | 0.9 | 2.5 |" in text
    assert "| MViT v2 S | 50 x 172 | 3.1 | 80.8 | - | 5 | 3.00 | 15.0 | 18.0 | 60.0 | 210 | 0.9 | 2.5 |" in text
    times = "20.0 (10.0 to 30.0)"  # 10, 40 / 2 and 30; the head's job: 70 / 0.7, 280 / 1.3, 210 / 0.7
    assert f"| MViT v2 S | {times} | {times} | {times} | 215 (100 to 300) |" in text
    assert "torchvision" not in text.partition("Sources")[0] and PUBLISHED["mvit_v2_s"].source in text
    assert "Median ratio" not in "\n".join(results.lines_of({"mvit_v2_s": FOUND["mvit_v2_s"]}, 1))


def test_an_unfinished_round_counts_only_while_it_is_the_first():
    one, two = FOUND["a0"][:2]
    assert results.whole_rounds({"a0": [one], "s3d": []}) == {"a0": [one]}
    assert results.whole_rounds({"a0": [one, two], "s3d": [two]}) == {"a0": [one], "s3d": [two]}


def test_a_row_for_each_network_and_round():
    rows = results.records(FOUND)
    assert [(row["network"], row["round"]) for row in rows] == [(name, one) for name in FOUND for one in (1, 2, 3)]
    assert rows[4]["forward_cpu"] == 20 and rows[4]["forward_wall"] == 0.3 and rows[4]["head_job_cpu"] == 10 * (4 + 24)
    assert rows[0]["training_memory"] == 2500 * MEGA and "costs" not in rows[0]


def test_processor_time_is_of_one_call_after_one_that_does_not_count(monkeypatch):
    calls, processor, clock = [], iter([1.0, 2.0]), iter([0.0, 0.6, 1.2])
    monkeypatch.setattr("benchmarks.versus.clock.time.process_time", lambda: next(processor))
    monkeypatch.setattr("benchmarks.versus.clock.time.perf_counter", lambda: next(clock))
    assert cost_of(lambda: calls.append(1)) == Cost(0.5, 0.6)
    assert len(calls) == 3


def test_every_network_can_be_chosen_and_has_published_accuracy():
    assert set(PUBLISHED) == {*ours.NETWORKS, *others.BUILDERS}
    assert run.parse_arguments([]).networks == tuple(PUBLISHED)


def test_a_view_steps_through_the_video_or_is_spread_over_a_short_one():
    rng = random.Random(0)
    starts = set()
    for _ in range(50):
        indices = others.view_indices(100, 16, 4, rng).tolist()
        starts.add(indices[0])
        assert len(indices) == 16 and indices[-1] - indices[0] == 63 and indices[-1] < 100
        assert {after - before for before, after in itertools.pairwise(indices)} <= {4, 5}
    assert len(starts) > 10
    assert others.view_indices(7, 3, 4, rng).tolist() == [0, 3, 6]


def test_an_environment_without_pytorch_is_refused_before_anything_is_measured(tmp_path):
    options = run.parse_arguments(["--python", str(tmp_path / "python"), "--out", str(tmp_path / "out")])
    with pytest.raises(
        UserError, match=r"python: no such environment; create it with `make versus`, or name another with --python"
    ):
        run.run(options, "the command")
    with pytest.raises(UserError, match=r"No module named '(pytorchvideo|torch)'"):
        run.check_environment(Path(sys.executable))
    assert not (tmp_path / "out").exists()


def test_a_failed_network_is_named_with_its_last_line(tmp_path):
    with pytest.raises(UserError, match=r"videomae: ModuleNotFoundError: No module named 'torch'; leave it out with --networks"):
        run.measure_round("videomae", 1, tmp_path, [], Path(sys.executable))


@pytest.mark.slow
def test_a_round_of_the_pipeline(tmp_path, monkeypatch):
    clips = render_clips(tmp_path / "clips", 15, size=(64, 48), seconds=(1.0, 1.2))
    monkeypatch.setattr(ours, "FRAMES", 2)
    found = results.parse_round(json.dumps(ours.measure_pipeline("a0_stream", 1, clips, tmp_path / "work")))
    assert (found.frames, found.size) == (2, 172) and 3 * MEGA < found.parameters < 4 * MEGA
    assert 0 < found.costs.head_step.cpu < found.costs.forward.cpu < found.costs.whole_step.cpu
    assert 2**28 < found.inference_memory <= found.training_memory
