"""Names in any script are drawn with real letters, measured as wide as they are, and cut between letters."""

import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.evaluation.metrics import most_confused
from pipeline.reporting import figures, fonts

SCRIPTS = {
    "Chinese": "跑步游泳骑自行车",
    "Chinese, traditional": "騎車運動",
    "Japanese": "走る水泳バスケ",
    "Korean": "달리기",
    "Arabic": "الجري",
    "Devanagari": "दौड़ना",
    "Cyrillic": "Бег",
    "Thai": "วิ่งเร็ว",
    "Hebrew": "ריצה",
    "Tamil": "ஓடுதல்",
    "Bengali": "দৌড়",
    "Georgian": "სირბილი",
    "Amharic": "ሩጫ",
    "Vietnamese": "Chạy bộ",
    "emoji": "🏃🏊😀👨‍👩‍👧",
}


def drawn(text: str, size: int = 24) -> np.ndarray:
    with figures.drawing():
        figure = Figure((4, 1))
        figure.text(0.05, 0.4, text, fontsize=size)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., 0].copy()


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_drawn_with_its_own_letters(script, capfd):
    name = SCRIPTS[script]
    assert fonts.missing(name) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = drawn(name[0]), drawn(name[1])
    assert first.min() < 128 and second.min() < 128
    assert (first != second).any()  # the boxes that stand for what is missing are the same for a whole script
    fonts.say_missing([name])
    assert capfd.readouterr().err == ""


def test_letters_that_no_font_has_are_boxes_and_said_once_without_a_raw_warning(capfd):
    name = "run 𐎀𐎁 ᠮ"
    assert fonts.missing(name) == ["𐎀", "𐎁", "ᠮ"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figures.confusion_figure(np.eye(2, dtype=int), [name, "b"], normalised=False)
        for _ in range(2):
            assert figures.png(figure)
    assert (drawn("𐎀") == drawn("𐎁")).all()
    lines = capfd.readouterr().err.splitlines()
    assert lines == [f"no font here has 𐎀 𐎁 ᠮ of {name!r}: figures show boxes in place of them; tables and pages have them"]


def test_without_the_packages_the_user_is_told_how_to_get_them(monkeypatch, capfd):
    for cached in (fonts.files, fonts._characters):
        cached.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(fonts, "PACKAGES", ("no_such_package",))
        patch.setattr(fonts, "_said", set())
        assert fonts.missing("跑步 Бег") == ["跑", "步"]
        fonts.say_missing(["跑步"])
    for cached in (fonts.files, fonts._characters):
        cached.cache_clear()
    assert capfd.readouterr().err.strip().endswith("; `make env` installs the fonts")


def test_what_latin_letters_look_like_does_not_depend_on_the_other_fonts(monkeypatch):
    mine = drawn("HandstandPushups Überkopf Żółw")
    monkeypatch.setitem(figures.STYLE, "font.family", ["DejaVu Sans"])
    assert (drawn("HandstandPushups Überkopf Żółw") == mine).all()


def test_an_arrow_between_names_written_from_right_to_left_points_at_the_predicted_one():
    pairs = most_confused(np.array([[5, 3], [0, 5]]), ["أ", "ب"], 1)
    (label,) = figures.confused_pairs_figure(pairs).axes[0].get_yticklabels()
    plain = drawn("أ  →  ب")
    assert (drawn(label.get_text()) != plain).any()  # which Unicode's rules turn round
    right = drawn(label.get_text())
    dark = np.flatnonzero((right < 128).any(axis=0))
    left_half = right[:, dark[0] : dark[0] + 12]
    alone = drawn("أ")
    start = np.flatnonzero((alone < 128).any(axis=0))[0]
    assert (left_half[:, :8] == alone[:, start : start + 8]).all()  # the actual class stands at the left
    assert fonts.left_to_right("Run") == "Run"


@pytest.mark.parametrize(
    ("text", "letters", "columns"),
    [
        ("run", ["r", "u", "n"], 3),
        ("跑步", ["跑", "步"], 4),
        ("दौड़ना", ["दौ", "ड़", "ना"], 3),
        ("क्षमा", ["क्ष", "मा"], 2),
        ("é", ["é"], 1),
        ("👨‍👩‍👧🏃🏽🇩🇪🇫🇷", ["👨‍👩‍👧", "🏃🏽", "🇩🇪", "🇫🇷"], 6),
    ],
)
def test_letters_as_a_reader_counts_them(text, letters, columns):
    assert fonts.clusters(text) == letters
    assert fonts.columns(text) == columns


def test_long_names_lose_their_middle_between_letters():
    assert fonts.shorten("short") == "short"
    assert fonts.shorten("a" * 30 + "b" * 30) == "a" * 13 + "…" + "b" * 12
    assert fonts.shorten("跑" * 30 + "步" * 30) == "跑" * 6 + "…" + "步" * 6
    assert fonts.shorten("跑" * 13) == "跑" * 13
    assert fonts.shorten("दौ" * 40) == "दौ" * 13 + "…" + "दौ" * 12


def test_names_are_wrapped_between_words_and_else_between_letters():
    assert fonts.wrapped("carving ice on a frozen lake", 12) == "carving ice\non a frozen\nlake"
    assert fonts.wrapped("跑步游泳骑自行车", 8) == "跑步游泳\n骑自行车"
    assert fonts.wrapped("in दौड़नादौड़ना", 4) == "in\nदौड़नादौ\nड़ना"
    assert fonts.wrapped("", 8) == ""


def test_a_matrix_of_many_chinese_classes_takes_seconds_and_its_names_fit():
    import time

    names = [f"跑步{chr(0x4E00 + k)}运动" for k in range(101)]
    start = time.perf_counter()
    figure = figures.confusion_figure(np.eye(101, dtype=int), names, normalised=False)
    assert figures.png(figure) and time.perf_counter() - start < 60
    renderer = figure.canvas.get_renderer()
    assert all(label.get_window_extent(renderer).x0 >= 0 for label in figure.axes[0].get_yticklabels())


def test_the_table_of_a_sweep_is_drawn_with_names_of_any_script(capfd):
    from pipeline.sweeping.figure import pareto_figure

    columns = ("validation_top1", "validation_top1_low", "validation_top1_high", "flops", "latency_ms")
    rows = [
        {"trial": f"t{k}", "status": "finished", "data": name} | dict.fromkeys(columns, 0.5 + k / 100)
        for k, name in enumerate(SCRIPTS.values())
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figures.png(pareto_figure(pd.DataFrame(rows), ["data"], 0.95))
    assert capfd.readouterr().err == ""
