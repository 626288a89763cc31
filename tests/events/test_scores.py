"""Which windows are computed, of which frames, and what moments they describe."""

import numpy as np
import pytest

from pipeline.events.scores import CAUSAL_DELAY, Windows, WindowScorer
from pipeline.inference.models import ClipPredictor
from tests.inference.small import COUNT, FPS, SIZE, streaming, whole_clips


def frames(count, level=lambda k: 0):
    return [(round(k / FPS * 1e6), np.full((SIZE, SIZE, 3), level(k), np.uint8)) for k in range(count)]


class Recorder(ClipPredictor):
    """Its probability of the first class is the level of the first frame, of the second that of the last, of the third 0."""

    def __init__(self, **expected):
        self.seen = []
        super().__init__(self.compute, None, "recorder", ["first", "last", "none"], fps=FPS, size=SIZE, **expected)

    def compute(self, views):
        self.seen.append(views.shape)
        return np.array([[view[0, 0, 0, 0], view[-1, 0, 0, 0], 0] for view in views], np.float32)


def score(predictor, windows, given, skip=0):
    scorer = WindowScorer(predictor, windows, skip=skip)
    return [one for frame in given for one in scorer.push(frame)] + scorer.close(), scorer


def test_windows_lie_a_stride_apart_and_the_last_ends_with_the_source():
    found, scorer = score(Recorder(), Windows(4, 2), frames(9, lambda k: k))
    ends = np.rint([one.probabilities[:2] * 255 for one in found])
    assert ends.tolist() == [[0, 3], [2, 5], [4, 7], [5, 8]]
    np.testing.assert_allclose([one.seconds for one in found], [0.4, 0.8, 1.2, 1.4])
    assert scorer.end == pytest.approx(9 / FPS)


def test_no_window_is_computed_twice_where_one_ends_with_the_source():
    predictor = Recorder()
    found, _ = score(predictor, Windows(4, 2), frames(8))
    assert len(found) == 3 and predictor.seen == [(1, 4, SIZE, SIZE, 3)] * 3


def test_a_source_shorter_than_a_window_has_one_score():
    found, _ = score(whole_clips(None), Windows(COUNT, 1), frames(2, lambda k: 250))
    assert len(found) == 1 and found[0].seconds == pytest.approx(0.2) and found[0].probabilities.argmax() == 2
    assert score(whole_clips(None), Windows(COUNT, 1), [])[0] == []


def test_known_windows_are_skipped_and_the_others_are_the_same():
    given = frames(21, lambda k: 10 * k)
    all_of_them, _ = score(whole_clips(None), Windows(COUNT, 3), given)
    for skip in (1, 4, len(all_of_them) - 1, len(all_of_them)):
        predictor = whole_clips(None)
        rest, scorer = score(predictor, Windows(COUNT, 3), given, skip)
        assert [one.seconds for one in rest] == [one.seconds for one in all_of_them[skip:]]
        for one, other in zip(rest, all_of_them[skip:], strict=True):
            np.testing.assert_array_equal(one.probabilities, other.probabilities)
        assert scorer.end == pytest.approx(21 / FPS)


def test_events_of_a_causal_network_are_moved_forward():
    (whole,), _ = score(whole_clips(None), Windows(40, 40), frames(40))
    (causal,), _ = score(streaming(), Windows(40, 40), frames(40))
    assert whole.seconds == pytest.approx(4.0) and causal.seconds == pytest.approx(4.0 - CAUSAL_DELAY / FPS)
    (short,), _ = score(streaming(), Windows(4, 4), frames(4))
    assert short.seconds == pytest.approx(0.2)  # a quarter of the window at most


def test_windows_longer_than_a_view_are_the_mean_over_several_views():
    found, _ = score(whole_clips(None), Windows(8, 8), frames(8, lambda k: 0 if k < 4 else 255))
    assert found[0].probabilities[0] == pytest.approx(found[0].probabilities[2], abs=0.02)


def test_default_windows():
    assert Windows.of(whole_clips(None)) == (COUNT, 1)
    assert Windows.of(Recorder()) == (50, 12)  # ten seconds where the model does not state its views
    assert Windows.of(whole_clips(None), window=4.0, stride=1.0) == (20, 5)
    assert Windows.of(whole_clips(None), window=4.0) == (20, 5)
    assert Windows.of(whole_clips(None), window=0.01, stride=0.01) == (1, 1)
