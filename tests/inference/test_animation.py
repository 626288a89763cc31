"""Pictures contain every frame, untruncated class names, and the same colours throughout."""

import hashlib

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from pipeline.inference.animation import animate, draw_stream
from pipeline.inference.models import Predictor
from pipeline.inference.movies import write_gif
from pipeline.inference.sources import find_sources
from pipeline.inference.still import draw_still, spread_labels
from pipeline.inference.streaming import StreamedFrame
from pipeline.inference.timeline import COLOURS, Timeline, build_timeline, format_percent, select_classes
from tests.inference.small import write_video

NAMES = [
    "short",
    "throwing ball (not baseball or American football)",
    "SupercalifragilisticexpialidociousUnbroken",
    "$x_1$ %",
    "e",
]
FRAMES = 6


@pytest.fixture
def streamed(tmp_path):
    """The streamed frames of a source, the source, and a predictor with NAMES."""
    (source,) = find_sources(str(write_video(tmp_path / "in" / "clip.avi", [40 * k for k in range(FRAMES)])))
    rng = np.random.default_rng(4)
    frames = []
    for timestamp, image in source.frames(5.0, 32):
        levels = rng.uniform(0.01, 1, len(NAMES)).astype(np.float32)
        frames.append(StreamedFrame(timestamp / 1e6, image, levels / levels.sum()))
    return frames, source, Predictor("p", NAMES, fps=5.0, size=32)


def test_a_gif_has_every_frame_for_as_long_as_it_lasts(streamed, tmp_path):
    draw_stream(tmp_path / "out.gif", *streamed, top=5)
    with Image.open(tmp_path / "out.gif") as gif:
        assert gif.n_frames == FRAMES and gif.info["loop"] == 0
        durations = []
        for number in range(FRAMES):
            gif.seek(number)
            durations.append(gif.info["duration"])
    assert durations == [200] * FRAMES
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.gif"]


def test_rounding_of_times_does_not_change_the_length_of_a_gif(tmp_path):
    pictures = (np.full((4, 4, 3), 20 * k, np.uint8) for k in range(12))
    write_gif(tmp_path / "twelfths.gif", pictures, 12, fps=12.0)
    with Image.open(tmp_path / "twelfths.gif") as gif:
        durations = []
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
    assert sum(durations) == 1000 and set(durations) == {80, 90}


def test_fixed_colours_are_exact_even_in_a_colourful_picture(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    fixed = [(255, 255, 255), (0, 114, 178), (213, 94, 0)]
    for row, colour in enumerate(fixed):
        picture[row] = colour
    write_gif(tmp_path / "k.gif", iter([picture]), 1, 5.0, fixed)
    with Image.open(tmp_path / "k.gif") as gif:
        found = np.asarray(gif.convert("RGB"))
    np.testing.assert_array_equal(found[:3], picture[:3])
    assert np.abs(found.astype(int) - picture).mean() < 25


def test_an_mp4_has_every_frame_at_the_models_frame_rate(streamed, tmp_path, capfd):
    draw_stream(tmp_path / "out.MP4", *streamed, top=5)
    capture = cv2.VideoCapture(str(tmp_path / "out.MP4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    count = 0
    while capture.grab():
        count += 1
    assert count == FRAMES
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.MP4"]


def test_equal_input_gives_equal_pictures(streamed, tmp_path):
    for name in ("a.gif", "b.gif", "a.png", "b.png"):
        draw_stream(tmp_path / name, *streamed, top=3)
    digests = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.gif", "b.gif", "a.png", "b.png")}
    assert digests["a.gif"] == digests["b.gif"] and digests["a.png"] == digests["b.png"]


def test_frames_are_shown_larger_than_the_networks_input_and_in_order(streamed):
    timeline = build_timeline(*streamed, top=2)
    assert timeline.images[0].shape == (288, 384, 3) and len(timeline.images) == FRAMES
    assert [round(float(image.mean()) / 40) for image in timeline.images] == list(range(FRAMES))
    assert timeline.end == pytest.approx(1.2)


def test_names_are_wrapped_and_never_truncated(streamed):
    timeline = build_timeline(*streamed, top=5)
    assert sorted(name.replace("\n", " ") for name in timeline.names if "Super" not in name) == sorted(NAMES[:2] + NAMES[3:])
    assert "".join(next(name for name in timeline.names if "Super" in name).split("\n")) == NAMES[2]
    assert max(len(line) for name in timeline.names for line in name.split("\n")) <= 30
    figure = draw_still(timeline, "clip.avi")
    check_texts(figure, [*timeline.names, "clip.avi"])


def check_texts(figure, expected):
    """Checks that every text lies within the picture, that no two overlap, and that `expected` are among them."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    texts = [text for holder in (figure, *figure.axes) for text in holder.texts if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    assert set(expected) <= {text.get_text() for text in texts}
    for text, box in zip(texts, boxes, strict=True):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()
    for k, one in enumerate(boxes):
        for other, text in zip(boxes[k + 1 :], texts[k + 1 :], strict=True):
            overlap = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
            assert min(overlap) <= 1, (texts[k].get_text(), text.get_text())


@pytest.mark.parametrize(("height", "width"), [(288, 384), (288, 900), (700, 288)])
def test_animations_fit_videos_of_any_shape(streamed, height, width):
    timeline = build_timeline(*streamed, top=5)._replace(images=[np.full((height, width, 3), 200, np.uint8)] * FRAMES)
    pictures = list(animate(timeline, "clip.avi"))
    assert len(pictures) == FRAMES and len({picture.shape for picture in pictures}) == 1
    assert all(side % 2 == 0 for side in pictures[0].shape[:2])
    for picture in pictures:  # nothing touches the edge, so nothing is cropped
        edges = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (edges == 255).all()


def test_a_class_keeps_its_position_and_colour_and_its_bar_shows_the_current_probability(streamed):
    timeline = build_timeline(*streamed, top=2)._replace(names=["A", "B"])
    timeline.probabilities[:] = [[0.1 + 0.15 * k, 0.9 - 0.15 * k] for k in range(FRAMES)]
    lengths = []
    for picture in animate(timeline, "t"):
        upper = picture[: picture.shape[0] // 2]
        runs = []
        for colour in COLOURS[:2]:
            rows, columns = np.nonzero((upper == np.rint(255 * np.array(to_rgb(colour)))).all(axis=-1))
            runs.append(np.bincount(rows[columns > picture.shape[1] // 2], minlength=1).max() if len(rows) else 0)
        lengths.append(runs)
    grown = np.array(lengths)
    assert (np.diff(grown[:, 0]) > 20).all() and (np.diff(grown[:, 1]) < -20).all()


def test_a_class_that_was_probable_for_long_is_shown_even_if_it_ends_low():
    probabilities = np.full((10, 6), 0.01)
    probabilities[:9, 4] = 0.9
    probabilities[9, 2], probabilities[9, 0] = 0.8, 0.1
    assert select_classes(probabilities, 3).tolist() == [2, 0, 4]


def test_there_are_no_more_classes_than_colours():
    names = [f"class {number}" for number in range(20)]
    frames = [StreamedFrame(0.2 * k, np.zeros((32, 32, 3), np.uint8), np.linspace(0, 0.1, 20)) for k in range(2)]

    class LiveSource:
        name, live = "camera:0", True

    timeline = build_timeline(frames, LiveSource(), Predictor("p", names, fps=5.0, size=32), 20)
    assert len(timeline.names) == len(COLOURS) and timeline.names[0] == "class 19"
    assert timeline.images[0].shape == (32, 32, 3)


def test_a_single_frame_can_be_drawn(streamed, tmp_path):
    frames, source, predictor = streamed
    for suffix in ("png", "gif"):
        draw_stream(tmp_path / f"one.{suffix}", frames[:1], source, predictor, top=5)
        assert (tmp_path / f"one.{suffix}").stat().st_size > 1000


def test_labels_are_spread_in_order_and_below_the_limit():
    heights = np.array([0.2, 0.2, 0.4, 0.2])
    centres = spread_labels(np.array([0.9, 0.1, 0.05, 0.0]), heights, 1.0)
    assert (centres[:-1] - centres[1:] >= (heights[:-1] + heights[1:]) / 2 - 1e-9).all()
    assert centres[0] == pytest.approx(0.9) and centres[-1] == 0
    crowded = spread_labels(np.array([0.99, 0.98, 0.97, 0.96]), heights, 1.0)
    assert crowded[0] + 0.1 <= 1 + 1e-9 and (np.diff(crowded) < 0).all()


def test_format_percent():
    assert [format_percent(level) for level in (0, 0.004, 0.01, 0.5, 1.0)] == ["<1%", "<1%", "1%", "50%", "100%"]


def test_a_timeline_has_the_selected_classes_in_order(streamed):
    timeline = build_timeline(*streamed, top=3)
    assert isinstance(timeline, Timeline) and timeline.probabilities.shape == (FRAMES, 3)
    assert (np.diff(timeline.probabilities[-1]) <= 0).all()
