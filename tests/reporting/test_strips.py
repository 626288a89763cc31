"""Clips on the page: which are shown, what colours say, and that all of it can be reached without a mouse or a script."""

import base64
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import Occlusion, RunningPrediction, Strip
from pipeline.console import UserError
from pipeline.evaluation.predictions import read_predictions
from pipeline.evaluation.suspects import read_suspects
from pipeline.reporting import parts, strips
from pipeline.reporting.inputs import read_inputs
from pipeline.reporting.strips import ClipPictures, show_classes, show_mistakes, show_strip, show_suspects
from stages import report
from tests.reporting.results import some_params, write_results
from tests.reporting.shown_clips import OCCLUSION, write_shown_clips

CLASSES = ["down", "left", "right", "turn & <b>twist</b>", "up"]


class _Outline(HTMLParser):
    """The ids, links, headings, images and labels of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.headings, self.images, self.tags, self._open = [], [], [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        self.ids += [values["id"]] if "id" in values else []
        self.links += [(values["href"], values.get("aria-label"))] if tag == "a" else []
        self.images += [values] if tag == "img" else []
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    data, results = write_results(tmp_path_factory.mktemp("strips"), CLASSES, skill=2.5, suspects=22)
    write_shown_clips(results)
    return data, results


@pytest.fixture(scope="module")
def page(folders) -> str:
    return report.run(some_params(), data=folders[0], results=folders[1]).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pictures(folders) -> ClipPictures:
    return ClipPictures.read(folders[1] / "clips", read_predictions(folders[1] / "predictions.csv").of("test"))


def test_each_cell_with_clips_is_a_link_to_its_strips(page, folders):
    outline = _Outline(page)
    assert len(set(outline.ids)) == len(outline.ids)
    matrix = read_inputs(*folders, some_params().evaluate, some_params().report).confusion_matrix
    cells = {href: label for href, label in outline.links if href.startswith("#cell-")}
    assert set(cells) == {f"#cell-{actual}-{predicted}" for actual, predicted in np.argwhere(matrix).tolist()}
    assert {href[1:] for href in cells} <= set(outline.ids)
    actual, predicted = np.argwhere(matrix * (1 - np.eye(5, dtype=int)))[0].tolist()
    clips = matrix[actual, predicted]
    assert cells[f"#cell-{actual}-{predicted}"].startswith(f"{clips} clip")
    assert cells[f"#cell-{actual}-{predicted}"].endswith(f"of {CLASSES[actual]} predicted as {CLASSES[predicted]}")
    assert page.count('<details class="row" name="cells">') == len(CLASSES)


def test_cells_say_how_many_clips_are_not_shown(folders, pictures):
    inputs = read_inputs(*folders, some_params().evaluate, some_params().report)
    rows = show_classes(inputs.test, inputs.confusion_matrix, pictures)
    for actual, row in enumerate(rows):
        assert (row.name, row.clips, row.wrong) == (CLASSES[actual], 28, 28 - inputs.confusion_matrix[actual, actual])
        for predicted, cell in enumerate(row.cells):
            count = inputs.confusion_matrix[actual, predicted]
            assert (cell is None) == (count == 0)
            if cell is not None:
                assert cell.clips == count and cell.share == count / 28
                assert len(cell.strips) == min(count, 3 if actual == predicted else 6)
                sureness = [probability for _, probability in cell.strips]
                assert sureness == sorted(sureness, reverse=actual != predicted)


def test_headings_are_in_order_and_pictures_have_a_text(page):
    outline = _Outline(page)
    levels = outline.headings
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all("alt" in image for image in outline.images)
    strips_shown = [image for image in outline.images if image["src"].startswith("data:image/jpeg")]
    assert {bool(image["alt"]) for image in strips_shown[::2]} == {True}, "the first half of a strip names it"
    assert {image["alt"] for image in strips_shown[1::2]} == {""}
    assert all(base64.b64decode(image["src"].partition(",")[2])[:2] == b"\xff\xd8" for image in strips_shown)


def test_landmarks_labels_and_tables_are_for_screen_readers(page):
    tags = _Outline(page).tags
    names = [tag for tag, _ in tags]
    assert [names.count(name) for name in ("header", "nav", "main")] == [1, 1, 1]
    ids = {values["id"] for _, values in tags if "id" in values}
    assert all(values["aria-labelledby"] in ids for _, values in tags if "aria-labelledby" in values)
    assert names.count("table") == names.count("caption")
    assert all("scope" in values for tag, values in tags if tag == "th")
    scrolled = [values for _, values in tags if values.get("class") == "scroll"]
    assert scrolled and all(values["tabindex"] == "0" and values["aria-label"] for values in scrolled)


def test_mistakes_have_their_neighbours_and_explanations(page, folders, pictures):
    test = read_predictions(folders[1] / "predictions.csv").of("test")
    shown = show_mistakes(test, pictures)
    assert [mistake.number for mistake in shown] == list(range(1, len(shown) + 1))
    probabilities = [mistake.probability for mistake in shown]
    assert probabilities == sorted(probabilities, reverse=True)
    assert [mistake.occlusion is not None for mistake in shown[:3]] == [True, True, False]
    first = shown[0]
    assert [one.similarity for one in first.neighbours] == pytest.approx([0.9, 0.8, 0.7]) and first.neighbours[0].strip
    assert (
        f"1. {first.actual}, predicted {first.predicted}".replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in page
    )
    assert "depends most on the part at the upper middle, right: without it, the class is 50 points less probable" in page
    assert "Without the part at the lower middle, centre left it is 25 points more probable" in page
    assert "the frames around 2.2 s: without them 10 points less" in page


def test_rows_of_mistakes_and_suspects_lead_to_their_cards_and_back(page, pictures):
    """Links and focusable targets, so that a keyboard and a reader without scripts get there too."""
    outline = _Outline(page)
    links = [href for href, _ in outline.links]
    focusable = {values["id"] for _, values in outline.tags if "id" in values and values.get("tabindex") == "-1"}
    for kind, count in (("mistake", len(pictures.content.mistakes)), ("suspect", 20)):
        for number in range(1, count + 1):
            assert links.count(f"#{kind}-{number}") == links.count(f"#row-{kind}-{number}") == 1
            assert {f"{kind}-{number}", f"row-{kind}-{number}"} <= focusable
        assert f"#{kind}-{count + 1}" not in links
    assert page.index('id="row-mistake-1"') < page.index('id="mistake-1"') < page.index('id="row-suspect-1"')


def test_suspects_are_shown_with_both_classes_and_what_speaks_for_them(page, folders, pictures):
    suspects = read_suspects(folders[1] / "suspects.csv")
    shown = show_suspects(suspects, pictures)
    assert [one.clip for one in shown] == suspects["clip"].head(20).tolist()
    first = shown[0]
    assert (first.given, first.suggested, first.of_given, first.of_suggested) == ("down", "up", 0.125, 0.75)
    assert first.strip.clip == first.clip and f"{first.clip} ({first.split}) · down 12.5% · up 75.0%" in page
    assert "1. Labelled down, more like up" in page


def strip(**changes) -> Strip:
    options = {"width": 100, "height": 80, "gap": 2, "frames_per_file": 4} | changes
    return Strip(clip="a", split="test", class_name="x", files=["0.jpg", "1.jpg"], seconds=[0, 1, 2, 3, 4], **options)


PICTURES = ClipPictures(None, {"0.jpg": b"0", "1.jpg": b"1"})


def test_frames_are_divided_among_the_files():
    first, second = show_strip(strip(), PICTURES).films
    assert (first.seconds, second.seconds) == ([0, 1, 2, 3], [4])
    assert (first.width, second.width) == (406, 100)
    assert show_strip(strip(), PICTURES).alt == "5 frames of a, from 0.0 to 4.0 s"


def test_colours_lie_over_the_square_that_the_classifier_sees():
    occlusion = Occlusion(probability=1, space=[[0.5, 0], [0, -0.25]], time=[0, 0.5, 0, -0.25, 0.1])
    first, second = show_strip(strip(), PICTURES, occlusion, scale=0.5).films
    assert len(first.boxes) == 16 and len(second.boxes) == 4
    corner, *_, last = first.boxes[4:8]  # of the second frame
    assert (corner.x, corner.y, corner.width, corner.height) == (102 + 10, 0, 40, 40)
    assert (corner.opacity, corner.lower) == (strips.STRONGEST, True)
    assert (last.x, last.y, last.opacity, last.lower) == (102 + 50, 40, strips.STRONGEST / 2, False)
    upright = show_strip(strip(width=80, height=100), PICTURES, occlusion).films[0].boxes[0]
    assert (upright.x, upright.y) == (0, 10)


def test_bars_go_up_for_a_loss_and_down_for_a_gain():
    occlusion = Occlusion(probability=1, space=[[0]], time=[0, 0.5, 0, -0.25, 0.1])
    first, second = show_strip(strip(), PICTURES, occlusion, scale=0.5).films
    half = strips.BAR_HEIGHT / 2
    assert [(bar.x, bar.lower) for bar in first.bars] == [(0, False), (102, True), (204, False), (306, False)]
    assert (first.bars[1].y, first.bars[1].height) == (0, half)
    assert (first.bars[3].y, first.bars[3].height) == (half, half / 2)
    assert second.bars[0].height == pytest.approx(0.2 * half)


def test_the_scale_of_colours_is_the_largest_effect_of_either_sign():
    shown = strips._show_occlusion(OCCLUSION.model_copy(update={"time": [0, 0, 0, 0, 0.1]}), strip(), PICTURES)
    assert (shown.scale, shown.place_drop, shown.moment, shown.moment_drop) == (0.5, 0.5, 4, 0.1)
    faint = Occlusion(probability=1, space=[[0.001]], time=[0] * 5)
    assert strips._show_occlusion(faint, strip(), PICTURES).scale == strips.SMALLEST_SCALE


def test_the_chart_says_since_when_the_last_class_leads():
    running = RunningPrediction(
        classes=["p", "a"], seconds=[0, 1, 2, 4], probabilities=[[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [1, 0]], frames=9
    )
    shown = strips._show_running(running)
    assert (shown.last_class, shown.since, shown.actual_first, shown.shown, shown.frames) == ("p", 2, 1, 4, 9)
    width, height = strips.CHART
    assert shown.lines[0].points == f"0.0,{0.1 * height:.1f} {width / 4:.1f},{0.8 * height:.1f} {width / 2:.1f},45.0 400.0,0.0"
    assert [text for _, text in shown.ticks] == ["0.0", "1.0", "2.0", "3.0", "4.0"]
    always = strips._show_running(running.model_copy(update={"probabilities": [[0.9, 0.1]] * 4}))
    assert (always.since, always.actual_first) == (0, None)


def test_without_pictures_the_page_says_so(tmp_path):
    data, results = write_results(tmp_path, ["a", "b"], skill=2)
    text = report.run(some_params(), data=data, results=results).read_text(encoding="utf-8")
    assert "results/clips was not made" in text and "#cell-" not in text and "#mistake-" not in text


def test_pictures_of_other_predictions_are_refused(tmp_path):
    _, results = write_results(tmp_path, ["a", "b"], skill=1.5)
    content = write_shown_clips(results)

    def read() -> ClipPictures:
        return ClipPictures.read(results / "clips", read_predictions(results / "predictions.csv").of("test"))

    assert read().content == content
    content.model_copy(update={"mistakes": content.mistakes[1:]}).write(results / "clips/clips.json")
    with pytest.raises(UserError, match="they come from different runs"):
        read()
    content.write(results / "clips/clips.json")
    (results / "clips" / content.strips[3].files[1]).unlink()
    with pytest.raises(UserError, match=r"0003-1\.jpg: not found"):
        read()


def test_reasons_why_something_is_not_shown_are_on_the_page(tmp_path):
    data, results = write_results(tmp_path, ["a", "b"], skill=1.5)
    content = write_shown_clips(results, explained=0)
    bare = [mistake.model_copy(update={"neighbours": []}) for mistake in content.mistakes]
    reasons = {"no_neighbours": "there are <no> features", "no_occlusion": "it is off", "no_running": "a0 takes whole clips"}
    content.model_copy(update={"mistakes": bare} | reasons).write(results / "clips/clips.json")
    text = report.run(some_params(), data=data, results=results).read_text(encoding="utf-8")
    for reason in ("there are &lt;no&gt; features", "it is off", "a0 takes whole clips"):
        assert f"not shown, because {reason}." in text


@pytest.mark.slow
def test_the_page_of_a_hundred_and_one_classes_stays_small(tmp_path):
    data, results = write_results(tmp_path, [f"Class{i:03d}WithName" for i in range(101)], skill=5, groups=7, clips=5)
    content = write_shown_clips(results, explained=6)
    text = report.run(some_params(), data=data, results=results).read_text(encoding="utf-8")
    assert len(text) < 10_000_000
    shown = len({strip.clip for strip in content.strips if strip.split == "test"})
    assert shown > 100 and re.search(r"[\d,]+ of 3,535 test clips", text)


def test_the_rows_of_many_classes_are_folded(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "FIGURES", [])
    data, results = write_results(tmp_path, [f"class {number:02d}" for number in range(13)], skill=4, groups=2, clips=2)
    write_shown_clips(results)
    text = report.run(some_params(), data=data, results=results).read_text(encoding="utf-8")
    start = text.index("<summary>The clips of all 13 classes</summary>")
    assert start < text.index('<details class="row"')
    section = text[text.rindex("<details>", 0, start) : text.index("</section>", start)]
    assert section.count("<details") == section.count("</details>") == 14
