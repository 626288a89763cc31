"""The page and the Markdown file hold what was found, escaped, readable without colours and without other files."""

import base64
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from pipeline.artifacts import ExportRow
from pipeline.comparison.compare import Resampling, compare_models
from pipeline.comparison.content import LISTED, STRIPS, Flip, FlipList, flipping_clips, make_sections
from pipeline.comparison.figure import draw_intervals
from pipeline.comparison.markdown import render_markdown
from pipeline.comparison.page import render
from pipeline.comparison.results import Cost
from pipeline.comparison.wording import caveats, describe_pair, describe_shared, signed
from pipeline.reporting.style import png
from tests.comparison.models import NAMES, clip, make_model
from tests.comparison.test_compare import FIRST_CLIPS

VOID = {"meta", "link", "img", "input", "br"}
JPEG = b"\xff\xd8 a frame"
EXPORT = {"format": "int8", "file": "int8.tflite", "bytes": 3_500_000, "test_top1": 0.875, "clips": 24, "groups": 8}
ROW = ExportRow(**EXPORT, accuracy_drop=0.0, agreement=1.0, milliseconds_a_frame=4.25, threads=1, state_bytes=250_000)


class Page(HTMLParser):
    """Collects what the tests look at, and checks that elements are closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.addresses, self.words, self.images, self.labels, self.anchors = [], [], [], [], [], []
        self.tables: list[dict[str, list[str]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.anchors += [found["id"]] if "id" in found else []
        if tag == "img":
            self.images.append((found["src"], found["alt"]))
        if found.get("role") == "img":
            self.labels.append(found["aria-label"])
        if tag == "table":
            self.tables.append({"caption": [], "th": [], "td": []})
        if tag == "th":
            assert found["scope"] in ("col", "row")
        if tag in ("th", "td", "caption"):
            self.tables[-1][tag].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td", "caption"):
            self.tables[-1][self.open[-1]][-1] += data
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def with_cost(model, **changes):
    return type(model)(**(vars(model) | changes))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    first = make_model(folder / "probe <b>&", FIRST_CLIPS)
    second = make_model(folder / "head", [clip("jump", 1, 2)])
    first = with_cost(first, params={"finetune.trainable": "probe"}, cost=Cost(1234, 2.5, "probe", "2 views", (ROW,)))
    return [first, with_cost(second, params={"finetune.trainable": "head"})]


def made(models, strips=None, **options):
    comparison = compare_models(models, "test", Resampling(resamples=200), **options)
    sections = make_sections(comparison, strips or {})
    picture = png(draw_intervals(comparison))
    return comparison, render(comparison, sections, picture), render_markdown(comparison, sections), picture


@pytest.fixture(scope="module")
def shown(models):
    strips = dict.fromkeys([FIRST_CLIPS[0], clip("jump", 1, 2)], [JPEG] * 8)
    comparison, text, markdown, picture = made(models, strips)
    return comparison, text, Page(text), markdown, picture


def test_the_page_is_self_contained_and_complete(shown):
    _, text, page, _, picture = shown
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not re.search(r"url\(|@import|<script", text)
    anchors = [address[1:] for address in page.addresses if address.startswith("#")]
    assert set(anchors) == set(page.anchors) == {"scores", "classes", "clips", "cost", "parameters", "method"}
    assert base64.b64decode(page.images[0][0].partition(",")[2]) == picture


def test_names_are_escaped(shown):
    _, text, page, markdown, _ = shown
    assert "probe <b>" not in text and "probe <b>& against head" in page.text
    assert "<b>" not in markdown.replace("\\<b\\>", "")


def test_the_verdict_stands_first_with_its_interval_and_p(shown):
    comparison, _, page, markdown, _ = shown
    (pair,) = comparison.pairs
    low, high = 100 * pair.accuracy.low, 100 * pair.accuracy.high
    sentence = f"head is better than probe <b>&: +29.2 points of accuracy (95% interval +{low:.1f} to +{high:.1f}; p = "
    assert sentence in page.text and page.text.index(sentence) < page.text.index("Scores on the shared")
    assert "**head is better than probe \\<b\\>&: +29.2 points" in markdown
    assert "Note: With 8 groups the intervals are probably too narrow" in page.text


def test_tables_have_captions_and_values(shown):
    comparison, _, page, _, _ = shown
    tables = {table["caption"][0]: table for table in page.tables}
    assert len(tables) == len(page.tables) and all(tables)
    scores = tables["Scores on the shared test clips"]
    assert (
        scores["th"][5:] == ["probe <b>&", "head"]
        and scores["td"][0].startswith("66.7% (")
        and scores["td"][4].startswith("95.8% (")
    )
    differences = tables["Differences on the same test clips"]
    pair = comparison.pairs[0]
    assert differences["td"][:2] == ["better", differences["td"][1]] and differences["td"][1].startswith("+29.2 (")
    assert differences["td"][3:5] == [f"{pair.by_group:.4f}", f"{pair.mcnemar:.4f}"]
    assert tables["Clips by which of two models is right"]["td"] == ["15", "1", "8", "0"]
    classes = tables["Classes, head − probe <b>&"]
    assert (
        classes["th"][6:] == ["dance", "jump"] and classes["td"][:3] == ["12", "66.7%", "100.0%"] and classes["td"][4] == "gains"
    )
    cost = tables["Cost of each model"]
    assert cost["td"] == ["1,234", "2.5", "probe", "2 views", "–", "–", "–", "–"]
    exports = tables["Exported files, as export measured them"]
    assert exports["td"] == ["int8", "3.50", "87.5%", "4.25", "1", "0.25"]
    assert tables["Parameters that differ"]["th"][3:] == ["finetune.trainable"]
    assert tables["Parameters that differ"]["td"] == ["probe", "head"]
    assert "Nothing is recorded as exported of head" in page.text


def test_flips_are_shown_with_frames_and_listed(shown):
    _, _, page, markdown, _ = shown
    assert "head right, probe <b>& wrong: 8 clips" in page.text and "probe <b>& right, head wrong: 1 clip" in page.text
    frames = [address for address, alt in page.images if alt == "" and address.startswith("data:image/jpeg")]
    assert len(frames) == 16 and {base64.b64decode(address.partition(",")[2]) for address in frames} == {JPEG}
    assert set(page.labels) == {"8 frames of dance_g1_c1.avi, dance", "8 frames of jump_g1_c2.avi, jump"}
    assert "head says jump 80.0%" not in page.text and "head says dance 70.0%, jump 30.0%" in page.text
    listed = [cell for table in page.tables for cell in table["th"] if cell in NAMES]
    assert sorted(listed) == sorted([*FIRST_CLIPS, clip("jump", 1, 2)])
    assert all(name.replace("_", "\\_") in markdown for name in listed)
    assert "It does not hold 7 of them." in page.text


def test_without_frames_the_page_says_so(models):
    _, text, _, _ = made(models)
    assert "Without pictures: data/frames of this checkout does not hold these clips" in Page(text).text


def test_at_most_so_many_clips_of_a_list_are_pictured(tmp_path):
    models = [make_model(tmp_path / "a", NAMES[: STRIPS + 3]), make_model(tmp_path / "b", NAMES[-2:])]
    comparison = compare_models(models, "test", Resampling(resamples=100))
    assert len(flipping_clips(comparison)) == STRIPS + 2
    models = [make_model(tmp_path / f"m{number}", NAMES[number : number + 3]) for number in range(9)]
    comparison = compare_models(models, "test", Resampling(resamples=100), all_pairs=True)
    firsts = {comparison.shared.clips[flips[0]] for pair in comparison.pairs for flips in (pair.gained, pair.lost)}
    assert len(comparison.pairs) == 36 and set(flipping_clips(comparison)) == firsts  # of so many lists, one each


def test_a_long_list_of_flips_is_cut_and_says_where_all_are():
    flips = FlipList("b right, a wrong", "a", "b", [Flip(f"x/{number}.avi", "x", "y", "x", []) for number in range(LISTED + 1)])
    assert len(flips.table.rows) == LISTED and flips.table.caption.endswith("the first 1,000, all are in flips.csv")


def test_the_figure_is_described_in_numbers(shown):
    _, _, page, _, _ = shown
    alt = page.images[0][1]
    assert "head 95.8% (" in alt and "head − probe <b>& +29.2 (" in alt and "points" in alt


def test_equal_models_and_several_pairs_are_worded(tmp_path):
    models = [make_model(tmp_path / name, FIRST_CLIPS[:1]) for name in "abc"]
    comparison, text, _, _ = made(models, all_pairs=True)
    page = Page(text)
    assert page.text.count("have the same clips right, so their accuracies do not differ") == 3
    assert "The most accurate are a and b and c." in page.text
    assert "None: the models have the same clips right." in page.text
    assert "after Holm's correction for 3 comparisons" in page.text
    assert describe_pair(comparison, comparison.pairs[2]).startswith("c and b have")


def test_an_interval_that_few_groups_make_is_undecided_in_words(tmp_path):
    models = [make_model(tmp_path / "a", FIRST_CLIPS[:4]), make_model(tmp_path / "b")]
    comparison, *_ = made(models)
    assert "excludes 0, but too few groups differ to rule out chance (p = 0.12)" in describe_pair(comparison, comparison.pairs[0])


def test_what_was_compared_and_what_weakens_it(tmp_path):
    contents = pd.DataFrame(
        {
            "clip": NAMES,
            "group": [name.split("/")[1][:-7] for name in NAMES],
            "split": "test",
            "sha256": "0",
            "start": "",
            "end": "",
        }
    )
    leaking = contents.copy()
    leaking.loc[len(leaking)] = ["dance/more.avi", "dance_g1", "train", "1", "", ""]
    leaking.loc[3, "sha256"] = "2"
    models = [make_model(tmp_path / "a", names=NAMES[:20]), make_model(tmp_path / "b", groups={NAMES[0]: "mine"})]
    models = [with_cost(model, contents=of) for model, of in zip(models, (contents, leaking), strict=True)]
    comparison = compare_models(models, "test", Resampling(resamples=100))
    assert describe_shared(comparison) == (
        "Compared on the 20 test clips of 7 groups in 2 classes that all models share. Left out, as not all have them: b 4."
    )
    found = caveats(comparison)
    assert "a and b: no clip wrong, so the interval has no width; that is not certainty." in found
    assert "The models name the groups of 1 clip differently; clips that are one group for any of them count as one." in found
    assert "b was trained on clips of 1 of the 8 groups compared here, which makes its scores too good." in found
    assert "1 clip of a and b have the same name, but are not the same file." in found
    assert not any("a was trained" in sentence for sentence in found)


def test_validation_and_single_clip_groups_are_warned_of(tmp_path):
    own = {name: name for name in NAMES}
    models = [make_model(tmp_path / name, validation=[f"{n}v" for n in NAMES], groups=own) for name in "ab"]
    assert any("Every clip is its own group" in sentence for sentence in caveats(compare_models(models, "test", Resampling(100))))
    found = caveats(compare_models(models, "validation", Resampling(100)))
    assert any("these validation clips, so scores are too good" in sentence for sentence in found)


def test_signs():
    assert [signed(value, 1) for value in (1.25, -0.26, 0.0, -0.04)] == ["+1.2", "−0.3", "0.0", "0.0"]
