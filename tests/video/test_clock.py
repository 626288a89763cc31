"""The display times of frames, from their timestamps."""

from fractions import Fraction

import pytest

from pipeline.video.clock import FrameClock, UselessTimesError

MS = Fraction(1, 1000)


def starts(timestamps: list, fps: Fraction | int | None = 25, *, base: Fraction = MS, only_dts: bool = False) -> list[float]:
    """Seconds at which frames with these (pts, dts), or these pts, start."""
    clock = FrameClock(base, None if fps is None else Fraction(fps), Fraction(5), only_dts=only_dts)
    pairs = [pair if isinstance(pair, tuple) else (pair, None) for pair in timestamps]
    return [clock.tick(*pair) / clock.second for pair in pairs]


def test_times_count_from_the_first_frame():
    assert starts([0, 40, 80]) == [0, 0.04, 0.08]
    assert starts([10_000, 10_040, 10_080]) == [0, 0.04, 0.08]


def test_a_frame_without_a_time_follows_the_one_before():
    assert starts([40, 80, 120, None]) == [0, 0.04, 0.08, 0.12]
    assert starts([None, None, None]) == [0, 0.04, 0.08], "no times at all"


def test_gaps_are_kept_and_times_never_decrease():
    assert starts([0, 40, 200, 240]) == [0, 0.04, 0.2, 0.24]
    assert starts([0, 50, 40, 80]) == [0, 0.05, 0.09, 0.09]


def test_rounded_times_are_multiples_of_the_frame_period():
    """29.97 frames per second, rounded to whole milliseconds."""
    exact = [Fraction(1001, 30000) * index for index in range(60)]
    assert starts([round(1000 * time) for time in exact], Fraction(30000, 1001)) == [float(time) for time in exact]


@pytest.mark.parametrize("fps", [None])
def test_without_a_rate_the_timestamps_are_used(fps):
    assert starts([0, 40, 80, None], fps) == [0, 0.04, 0.08, 0.12]
    for useless in ([0, None], [0, 0], [(0, 0), (0, 0)]):
        with pytest.raises(UselessTimesError):
            starts(useless, fps)
    with pytest.raises(UselessTimesError):
        starts([0, 1], fps, base=Fraction(1, 90_000))


def test_an_avi_has_only_decoding_times():
    """The presentation times that a demuxer derives for an AVI with B-frames: 1, 2, 4, 3, 5, 7, 6."""
    made_up = [(1, 1), (2, 2), (4, 3), (3, 4), (5, 5), (7, 6), (6, 7), (8, None)]
    base = Fraction(1, 25)
    assert starts(made_up, base=base, only_dts=True) == [index / 25 for index in range(8)]


def test_the_timestamps_that_decreased_less_often_are_used():
    disordered = [(0, 0), (2, 1), (1, 2), (3, 3), (5, 4), (4, 5), (6, 6)]
    assert starts(disordered, base=Fraction(1, 25))[-1] == 6 / 25
    stuck = [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert starts(stuck, base=Fraction(1, 25)) == [0, 0.04, 0.08, 0.12]


def test_time_of_a_timestamp():
    clock = FrameClock(MS, Fraction(25), Fraction(5))
    assert clock.elapsed(500) == 0, "before the first frame nothing is known"
    clock.tick(1000, None)
    assert clock.seconds(clock.elapsed(1480)) == 0.48 and clock.elapsed(900) == 0
