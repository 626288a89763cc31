"""Events in small curves whose events are known by hand."""

import numpy as np
import pytest

from pipeline.events.detection import DetectionSettings, EventFinder, Grid, MovingAverage, Score, odd_steps
from pipeline.events.event import Event

CLASSES = ["A", "B"]
PLAIN = DetectionSettings(high=0.8, low=0.4, smooth=0, shortest=0, gap=0)


def scores(*rows, step=1.0):
    return [Score((k + 0.5) * step, np.array(row, np.float32)) for k, row in enumerate(rows)]


def curve(*a):
    """Scores of class A, one a second; B has the rest."""
    return scores(*((value, 1 - value) for value in a))


def find(given, settings=PLAIN, *, end=None, **options):
    finder = EventFinder("v", CLASSES, settings, step=1.0, **options)
    events = [event for score in given for event in finder.push(score)]
    return events + finder.close(len(given) if end is None else end)


def spans(events, name="A"):
    return [(event.start, event.end) for event in events if event.class_name == name]


def test_an_event_begins_at_high_and_lasts_while_above_low():
    assert spans(find(curve(0.5, 0.9, 0.5, 0.4, 0.39, 0.5, 0.7))) == [(1, 4)]


def test_the_confidence_is_the_mean_probability_in_the_event():
    (event,) = [event for event in find(curve(0.1, 0.9, 0.6, 0.1)) if event.class_name == "A"]
    assert event == Event("v", 1, 3, "A", pytest.approx(0.75))


def test_an_event_that_is_open_at_the_end_ends_there():
    assert spans(find(curve(0.1, 0.9, 0.9))) == [(1, 3)]


def test_events_of_a_class_within_the_gap_are_one_and_its_confidence_is_that_of_its_parts():
    given = curve(0.9, 0.9, 0.1, 0.1, 0.8, 0.1, 0.1, 0.1, 0.9)
    merged = find(given, DetectionSettings(0.8, 0.4, 0, 0, gap=2))
    assert spans(merged) == [(0, 5), (8, 9)]
    assert next(event for event in merged if event.start == 0).confidence == pytest.approx((0.9 + 0.9 + 0.8) / 3)
    assert spans(find(given, DetectionSettings(0.8, 0.4, 0, 0, gap=1))) == [(0, 2), (4, 5), (8, 9)]


def test_events_are_merged_before_short_ones_are_dropped():
    given = curve(0.9, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9)
    assert spans(find(given, DetectionSettings(0.8, 0.4, 0, shortest=2, gap=1))) == [(0, 3)]


def test_an_event_is_told_once_the_gap_has_passed():
    finder = EventFinder("v", CLASSES, DetectionSettings(0.8, 0.4, 0, 0, gap=2), step=1.0)
    told = [k for k, score in enumerate(curve(0.9, 0.45, 0.1, 0.3, 0.3, 0.3, 0.3)) if spans(finder.push(score))]
    # It ends at 2 s, and may come back until the step that begins at 4 s.
    assert told == [5]


def test_the_background_never_is_an_event():
    assert {event.class_name for event in find(curve(0.9, 0.1, 0.9))} == {"A", "B"}
    assert {event.class_name for event in find(curve(0.9, 0.1, 0.9), background="B")} == {"A"}


def test_smoothing_bridges_a_drop_and_levels_a_peak():
    smooth = DetectionSettings(0.8, 0.5, smooth=3, shortest=0, gap=0)
    assert spans(find(curve(1, 1, 1, 0, 1, 1, 1), smooth)) == [(0, 7)]
    assert spans(find(curve(0, 0, 0, 1, 0, 0, 0), smooth)) == []


def test_moving_average_is_centred_and_shorter_at_the_ends():
    average = MovingAverage(3)
    means = [mean for score in curve(0, 3, 6, 0) for mean in average.push(score)] + average.close()
    assert [float(mean.probabilities[0]) for mean in means] == [1.5, 3, 3, 3]
    assert [mean.seconds for mean in means] == [0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_source_shorter_than_the_average_still_gives_every_score(count):
    average = MovingAverage(9)
    means = [mean for score in curve(*[0.5] * count) for mean in average.push(score)] + average.close()
    assert [mean.seconds for mean in means] == [k + 0.5 for k in range(count)]


def test_scores_are_interpolated_and_constant_outside():
    grid = Grid(1.0)
    given = [Score(2.0, np.array([0.0], np.float32)), Score(4.0, np.array([1.0], np.float32))]
    points = [point for score in given for point in grid.push(score)] + grid.close(6.0)
    assert [point.seconds for point in points] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert [float(point.probabilities[0]) for point in points] == [0, 0, 0.25, 0.75, 1, 1]


def test_a_grid_may_start_later():
    grid = Grid(1.0, start=100.0)
    points = grid.push(Score(102.2, np.array([1.0], np.float32))) + grid.close(104.0)
    assert [point.seconds for point in points] == [100.5, 101.5, 102.5, 103.5]


def test_a_source_without_scores_has_no_events():
    assert find([], end=0) == []


def test_events_do_not_depend_on_when_the_scores_arrive():
    random = np.random.default_rng(3)
    given = curve(*np.clip(np.cumsum(random.normal(0, 0.3, 400)) % 2, 0, 1))
    settings = DetectionSettings(0.8, 0.5, smooth=3, shortest=2, gap=2)
    finder = EventFinder("v", CLASSES, settings, step=1.0)
    early = [event for score in given[:200] for event in finder.push(score)]
    late = [event for score in given[200:] for event in finder.push(score)] + finder.close(400)
    assert early and late and early + late == find(given, settings)
    assert all(event.seconds >= 2 for event in early + late)


def test_widths_of_the_average():
    assert [odd_steps(seconds, 0.2) for seconds in (0, 0.2, 0.5, 0.6, 1.6)] == [1, 1, 3, 3, 9]


@pytest.mark.parametrize(("high", "low"), [(0.5, 0.6), (0.5, 0.0), (1.2, 0.5)])
def test_impossible_thresholds_are_an_error(high, low):
    with pytest.raises(ValueError, match="must be probabilities"):
        DetectionSettings(high, low, 0, 0, 0)
