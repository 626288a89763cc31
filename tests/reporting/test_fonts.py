"""Names in any script are drawn with their own glyphs, measured at their display width and cut between graphemes."""

import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.reporting import fonts, style
from tests.reporting.drawing import draw_confusion, draw_pairs

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


def _titled(title: str) -> Figure:
    figure = Figure()
    figure.text(0, 0, title)
    return figure


def drawn(text: str, size: int = 24, families: tuple[str, ...] = ()) -> np.ndarray:
    with style.drawing(families):
        figure = Figure((4, 1))
        figure.text(0.05, 0.4, text, fontsize=size)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., 0].copy()


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_drawn_with_its_own_glyphs(script, capfd):
    name = SCRIPTS[script]
    assert fonts.missing_characters(name) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = drawn(name[0]), drawn(name[1])
    assert first.min() < 128 and second.min() < 128
    assert (first != second).any()  # boxes for missing glyphs would be equal
    fonts.warn_of_missing([name])
    assert capfd.readouterr().err == ""


def test_missing_glyphs_are_boxes_with_one_warning(capfd):
    name = "run 𐎀𐎁 ᠮ"
    assert fonts.missing_characters(name) == ["𐎀", "𐎁", "ᠮ"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw_confusion(np.eye(2, dtype=int), [name, "b"], normalised=False)
        for _ in range(2):
            assert style.png(figure)
    assert (drawn("𐎀") == drawn("𐎁")).all()
    lines = capfd.readouterr().err.splitlines()
    assert lines == [f"no font has 𐎀 𐎁 ᠮ of {name!r}: figures show boxes instead; tables and pages show them"]


def test_warning_says_how_to_install_absent_fonts(monkeypatch, capfd):
    for cached in (fonts.files, fonts._characters_by_family, fonts._characters):
        cached.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(fonts, "PACKAGES", ("no_such_package",))
        patch.setattr(fonts, "_warned", set())
        assert fonts.missing_characters("跑步 Бег") == ["跑", "步"]
        fonts.warn_of_missing(["跑步"])
    for cached in (fonts.files, fonts._characters_by_family, fonts._characters):
        cached.cache_clear()
    assert capfd.readouterr().err.strip().endswith("; `make env` installs the fonts")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_fonts_of_a_text_draw_it_as_all_fonts_do(script):
    name = f"Run → {SCRIPTS[script]}…"
    few = fonts.families_of([name])
    assert set(few) < set(fonts.families()) and few[0] == "DejaVu Sans"
    assert (drawn(name, families=few) == drawn(name)).all()


def test_latin_letters_do_not_depend_on_the_other_fonts():
    name = "HandstandPushups Überkopf Żółw → …"
    assert fonts.families_of([name]) == ("DejaVu Sans",)
    assert (drawn(name, families=("DejaVu Sans",)) == drawn(name)).all()


def test_a_figure_is_drawn_with_the_fonts_that_its_texts_need():
    label = draw_confusion(np.eye(2, dtype=int), [SCRIPTS["Chinese"], "b"], normalised=False).axes[0].get_yticklabels()[0]
    assert label.get_fontfamily() == list(fonts.families_of([SCRIPTS["Chinese"]])) != ["DejaVu Sans"]
    label = draw_confusion(np.eye(2, dtype=int), ["a", "b"], normalised=False).axes[0].get_yticklabels()[0]
    assert label.get_fontfamily() == ["DejaVu Sans"]
    title = style.styled(_titled, lambda title: [])(SCRIPTS["Chinese"]).texts[0]  # text that nothing announced
    assert title.get_fontfamily() == list(fonts.families())


def test_arrow_between_right_to_left_names_points_at_the_predicted_class():
    (label,) = draw_pairs(np.array([[5, 3], [0, 5]]), ["أ", "ب"], 1).axes[0].get_yticklabels()
    plain = drawn("أ  →  ب")
    assert (drawn(label.get_text()) != plain).any()  # which Unicode's rules turn round
    right = drawn(label.get_text())
    dark = np.flatnonzero((right < 128).any(axis=0))
    left_half = right[:, dark[0] : dark[0] + 12]
    alone = drawn("أ")
    start = np.flatnonzero((alone < 128).any(axis=0))[0]
    assert (left_half[:, :8] == alone[:, start : start + 8]).all()  # the actual class is on the left
    assert fonts.keep_left_to_right("Run") == "Run"


@pytest.mark.parametrize(
    ("text", "graphemes", "width"),
    [
        ("run", ["r", "u", "n"], 3),
        ("跑步", ["跑", "步"], 4),
        ("दौड़ना", ["दौ", "ड़", "ना"], 3),
        ("क्षमा", ["क्ष", "मा"], 2),
        ("é", ["é"], 1),
        ("👨‍👩‍👧🏃🏽🇩🇪🇫🇷", ["👨‍👩‍👧", "🏃🏽", "🇩🇪", "🇫🇷"], 6),
    ],
)
def test_graphemes_and_display_width(text, graphemes, width):
    assert fonts.split_graphemes(text) == graphemes
    assert fonts.display_width(text) == width


def test_long_names_are_shortened_in_the_middle():
    assert fonts.shorten("short") == "short"
    assert fonts.shorten("a" * 30 + "b" * 30) == "a" * 13 + "…" + "b" * 12
    assert fonts.shorten("跑" * 30 + "步" * 30) == "跑" * 6 + "…" + "步" * 6
    assert fonts.shorten("跑" * 13) == "跑" * 13
    assert fonts.shorten("दौ" * 40) == "दौ" * 13 + "…" + "दौ" * 12


def test_names_are_wrapped_between_words_or_graphemes():
    assert fonts.wrap("carving ice on a frozen lake", 12) == "carving ice\non a frozen\nlake"
    assert fonts.wrap("跑步游泳骑自行车", 8) == "跑步游泳\n骑自行车"
    assert fonts.wrap("in दौड़नादौड़ना", 4) == "in\nदौड़नादौ\nड़ना"
    assert fonts.wrap("", 8) == ""


def test_names_of_a_matrix_of_many_chinese_classes_fit():
    figure = draw_confusion(np.eye(101, dtype=int), [f"跑步{chr(0x4E00 + k)}运动" for k in range(101)], normalised=False)
    assert style.png(figure)
    renderer = figure.canvas.get_renderer()
    assert all(label.get_window_extent(renderer).x0 >= 0 for label in figure.axes[0].get_yticklabels())


def test_sweep_figure_has_names_in_any_script(capfd):
    from pipeline.sweeping.figure import pareto_figure

    columns = ("validation_top1", "validation_top1_low", "validation_top1_high", "flops", "latency_ms")
    rows = [
        {"trial": f"t{k}", "status": "finished", "data": name} | dict.fromkeys(columns, 0.5 + k / 100)
        for k, name in enumerate(SCRIPTS.values())
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert style.png(pareto_figure(pd.DataFrame(rows), ["data"], 0.95))
    assert capfd.readouterr().err == ""
