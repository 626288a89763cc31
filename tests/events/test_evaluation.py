"""Figures of small cases, computed by hand."""

import pytest

from pipeline.events.evaluation import average_precision, evaluate_events, match, temporal_iou
from pipeline.events.event import Event


def event(start, end, name="A", confidence=1.0, source="v"):
    return Event(source, start, end, name, confidence)


def test_temporal_iou():
    assert temporal_iou(event(0, 10), event(5, 15)) == pytest.approx(5 / 15)
    assert temporal_iou(event(0, 10), event(2, 4)) == pytest.approx(0.2)
    assert temporal_iou(event(0, 10), event(10, 20)) == 0
    assert temporal_iou(event(0, 10), event(12, 20)) == 0
    assert temporal_iou(event(1, 3), event(1, 3)) == 1


def test_each_annotated_event_is_matched_once_and_the_best_free_one_is_taken():
    annotated = [event(0, 10), event(8, 18)]
    assert match([event(0, 10), event(0, 9)], annotated, 0.5) == [True, False]
    # The second overlaps both; the first is taken, so it gets the other, at an IoU of 8 / 16.
    assert match([event(0, 10), event(2, 16)], annotated, 0.5) == [True, True]
    assert match([event(0, 10), event(2, 16)], annotated, 0.51) == [True, False]


def test_matches_are_of_the_same_source():
    assert match([event(0, 10, source="w")], [event(0, 10)], 0.3) == [False]
    assert match([event(0, 10)], [], 0.3) == [False]


def test_an_iou_exactly_at_the_threshold_matches():
    assert match([event(0, 5)], [event(0, 10)], 0.5) == [True]


def test_average_precision_by_hand():
    # Precisions 1, 1/2, 2/3 at hits 1 and 3; of four annotated, two are found: (1 + 2/3) / 4.
    assert average_precision([True, False, True], 4) == pytest.approx((1 + 2 / 3) / 4)
    # The precision at the first hit, 1/2, is raised to the 2/3 of a larger recall.
    assert average_precision([False, True, True], 2) == pytest.approx(2 / 3)
    assert average_precision([], 2) == 0
    assert average_precision([False], 1) == 0


def test_all_figures_of_a_small_case():
    annotated = [event(0, 10), event(20, 30), event(40, 50, "B")]
    found = [
        event(0, 10, confidence=0.6),  # exact
        event(22, 28, confidence=0.9),  # IoU 0.6
        event(60, 70, confidence=0.8),  # a false alarm between them
        event(40, 44, "B", confidence=0.7),  # IoU 0.4
        event(80, 90, "C", confidence=0.9),  # of a class that is not annotated
    ]
    result = evaluate_events(found, annotated, {"v": 100.0})
    a, b, c = result.classes
    # A at 0.3 and 0.5: hit, miss, hit: (1 + 2/3) / 2; at 0.7: miss, miss, hit: (1/3) / 2.
    assert a.average_precision == pytest.approx(((1 + 2 / 3) / 2, (1 + 2 / 3) / 2, 1 / 6))
    assert b.average_precision == pytest.approx((1, 0, 0))
    assert c.average_precision is None and c.recall is None and c.false_alarms == 1
    assert result.mean_average_precision == pytest.approx(((5 / 6 + 1) / 2, 5 / 12, 1 / 12))
    assert (result.annotated, result.found, result.false_alarms) == (3, 5, 2)
    assert result.recall == 1 and a.recall == 1 and b.recall == 1
    assert result.false_alarms_per_hour == pytest.approx(2 * 36)
    # Wrong: 4 s of A at 20-22 and 28-30, 10 s at 60-70, 6 s of B at 44-50, 10 s at 80-90.
    assert result.frame_accuracy == pytest.approx(0.70)


def test_where_events_overlap_the_confident_one_counts():
    found = [event(0, 10, "A", 0.6), event(0, 10, "B", 0.9)]
    assert evaluate_events(found, [event(0, 10, "B")], {"v": 10.0}).frame_accuracy == 1
    assert evaluate_events(found, [event(0, 10, "A")], {"v": 10.0}).frame_accuracy == 0


def test_sources_are_compared_one_by_one_and_weigh_by_their_length():
    annotated = [event(0, 10, source="v"), event(0, 10, source="w")]
    found = [event(0, 10, source="v")]
    result = evaluate_events(found, annotated, {"v": 10.0, "w": 30.0})
    assert result.frame_accuracy == pytest.approx(30 / 40) and result.sources == 2 and result.seconds == 40
    assert result.recall == 0.5


def test_nothing_found_and_nothing_annotated():
    nothing = evaluate_events([], [event(0, 5)], {"v": 10.0})
    assert nothing.mean_average_precision == (0, 0, 0) and nothing.recall == 0 and nothing.frame_accuracy == 0.5
    empty = evaluate_events([event(0, 5)], [], {"v": 3600.0})
    assert empty.mean_average_precision is None and empty.recall is None and empty.false_alarms_per_hour == 1
