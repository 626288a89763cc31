"""The report stage: all files, a self-contained page, and equal bytes for equal input."""

import base64
import re
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
import yaml

from pipeline.console import UserError
from pipeline.files import read_json, write_json
from pipeline.reporting import page as report_page
from pipeline.reporting import parts
from pipeline.settings import Finetune
from pipeline.tracking.environment import environment
from stages import report
from tests.reporting.results import some_params, write_results

FIGURES = {f"{part.name}.png" for part in parts.FIGURES}
TABLES = {f"{name}.csv" for name in parts.CSV_FILES}
# Others rely on these: dvc.yaml, and whoever compares runs.
PROMISED = {"confusion.png", "confusion_normalised.png", "learning_curves.png", "confused_pairs.png", "reliability.png"}
PROMISED |= {"confusion.csv", "per_class.csv", "confused_pairs.csv", "test_labels.csv"}
CLASSES = ["down", "left", "right", "turn & <b>twist</b>", "up"]
VOID = {"meta", "link", "img", "input", "br"}


class _Page(HTMLParser):
    """Checks that elements are closed in order, and collects addresses and visible text."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.addresses, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def _run(root: Path, classes: list[str] = CLASSES, **options) -> tuple[Path, str, _Page]:
    data, results = write_results(root, classes, **options)
    index = report.run(some_params(), data=data, results=results)
    text = index.read_text(encoding="utf-8")
    page = _Page(text)
    assert page.open == []
    return index.parent, text, page


@pytest.fixture
def unrendered_figures(monkeypatch):
    """Builds the figures, but does not render them to PNG, which is slow."""
    monkeypatch.setattr(report_page, "png", lambda figure: b"")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, str, _Page]:
    return _run(tmp_path_factory.mktemp("made"), leak=True, skipped=2, damaged=3, skill=2.5)


def test_folder_has_all_files_and_no_others(made):
    folder, *_ = made
    assert folder.name == "report"
    assert {file.name for file in folder.iterdir()} == FIGURES | TABLES | {"index.html", "model_card.md"} >= PROMISED
    assert [path.name for path in folder.parent.iterdir() if path.name.endswith(".part")] == []


def test_page_is_self_contained(made):
    folder, text, page = made
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not re.search(r"url\(|@import|<script[^>]+src", text)
    anchors = {address[1:] for address in page.addresses if address.startswith("#")}
    assert anchors and all(f'id="{anchor}"' in text for anchor in anchors)
    embedded = [base64.b64decode(address.partition(",")[2]) for address in page.addresses if address.startswith("data:image/png")]
    assert sorted(embedded) == sorted((folder / f"{part.name}.png").read_bytes() for part in parts.FIGURES if part.on_page)


def test_names_from_the_data_are_escaped(made):
    _, text, page = made
    assert "<b>twist" not in text
    assert "turn & <b>twist</b>" in page.text


def test_headline_has_score_interval_and_baseline(made):
    folder, _, page = made
    test = read_json(folder.parent / "metrics.json")["test"]
    assert f"{100 * test['top1']:.1f}% of test clips right" in page.text
    assert f"95% interval {100 * test['top1_low']:.1f}% – {100 * test['top1_high']:.1f}%" in page.text
    assert "from 140 clips of 35 groups; always predicting the largest class gives 20.0%" in page.text
    assert "With 95% confidence" in page.text


def test_validation_is_next_to_test_with_a_note(made):
    folder, _, page = made
    validation = read_json(folder.parent / "metrics.json")["validation"]
    assert "chosen on the validation clips alone" in page.text
    assert f"{validation['log_loss']:.3f}" in page.text


def test_data_section_lists_leaks_and_skipped_clips(made):
    _, _, page = made
    assert "Groups on both sides of the test split: 1 of 35 test groups, with 4 test clips." in page.text
    assert "overlapping segments) on both sides: 1 pair." in page.text
    assert "no frame could be decoded" in page.text
    assert "the decodable frames are used: 3, 3 of them in test; 210 of their 231 frames." in page.text
    assert page.text.count("decoded 70 of 77 frames: damaged data at 2.0 s") == 3
    assert "Do not trust this score for new scenes" in page.text


def test_training_section_has_the_best_epoch(made):
    _, _, page = made
    assert "12 epochs in 18 s. Kept: epoch 6, with the lowest validation loss" in page.text


def test_run_section_has_no_credentials(made):
    _, text, page = made
    assert "0123456789abcdef0123456789abcdef" in page.text
    assert "store https://mlflow.example.org" in page.text
    assert "secret" not in text
    block = re.search(r"<pre>(.*?)</pre>", text, re.S).group(1)
    assert yaml.safe_load(block)["finetune"] == some_params().finetune.model_dump()
    assert "The environment of training was not recorded." in page.text and "scikit-learn" in page.text


@pytest.mark.usefixtures("unrendered_figures")
def test_environment_is_that_of_training(tmp_path):
    data, results = write_results(tmp_path, CLASSES)
    trained = environment(["<NVIDIA> H100"]) | {"processor": "of training", "commit": "abc", "changed": True}
    trained["packages"] |= {f"package-{k:02d}": "1" for k in range(30)} | {"tensorflow": "0.1"}
    write_json(results / "run.json", read_json(results / "run.json") | {"environment": trained})
    page = _Page(report.run(some_params(), data=data, results=results).read_text(encoding="utf-8"))
    assert page.open == []
    shown = page.text[page.text.index("The classifier was trained with") :]
    assert "with 33 differences" in shown and "and 13 more packages" in shown
    for text in ("commit abc, changed since", "of training, ", "<NVIDIA> H100", "tensorflow 0.1"):
        assert text in shown


def test_csv_files_agree_with_the_predictions(made):
    folder, *_ = made
    predictions = pd.read_csv(folder.parent / "predictions.csv")
    test = predictions[predictions["split"] == "test"]
    matrix = pd.read_csv(folder / "confusion.csv", index_col="actual")
    assert matrix.index.tolist() == matrix.columns.tolist() == CLASSES
    assert matrix.loc["up", "left"] == ((test["actual"] == "up") & (test["predicted"] == "left")).sum()
    assert matrix.to_numpy().sum() == len(test)
    per_class = pd.read_csv(folder / "per_class.csv")
    assert per_class.columns.tolist() == ["class", "clips", "precision", "recall", "f1"]
    assert per_class["clips"].tolist() == [28] * 5
    pairs = pd.read_csv(folder / "confused_pairs.csv")
    assert pairs.columns.tolist() == ["actual", "predicted", "clips", "share"]
    assert pairs["clips"].sum() == (test["actual"] != test["predicted"]).sum()


def test_equal_input_gives_equal_files(tmp_path):
    first, *_ = _run(tmp_path / "first", ["a", "b"], skill=2)
    second, *_ = _run(tmp_path / "second", ["a", "b"], skill=2)
    for name in FIGURES | TABLES | {"index.html"}:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.usefixtures("unrendered_figures")
def test_old_report_is_replaced(tmp_path):
    stale = tmp_path / "results/report/old.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    _run(tmp_path, ["a", "b"])
    assert not stale.exists()


def test_perfect_score_without_validation(tmp_path):
    _, _, page = _run(tmp_path, ["no", "yes"], skill=40, validation=False)
    assert "100.0% of test clips right" in page.text
    assert "No test clip was mistaken for another class." in page.text
    assert "No test clip was misclassified." in page.text
    assert "This run has no validation clips, so nothing was chosen" in page.text
    assert "Kept: epoch 12, the last" in page.text


def test_page_of_one_group_has_no_interval(tmp_path):
    _, _, page = _run(tmp_path, ["only"], groups=1, skill=40)
    assert "no interval" in page.text
    assert "None" not in page.text


@pytest.mark.slow
def test_a_hundred_and_one_classes(tmp_path):
    classes = [f"Class{i:03d}WithName" for i in range(101)]
    folder, text, page = _run(tmp_path, classes, skill=7, groups=2, clips=2)
    assert all(name in page.text for name in classes)
    assert len(text) < 6_000_000
    assert len(pd.read_csv(folder / "confused_pairs.csv")) <= 15


def test_nothing_is_written_when_an_input_is_missing(tmp_path):
    data, results = write_results(tmp_path, ["a", "b"])
    (results / "history.csv").unlink()
    with pytest.raises(UserError, match=r"history\.csv: not found"):
        report.run(some_params(), data=data, results=results)
    assert not (results / "report").exists()


@pytest.mark.usefixtures("unrendered_figures")
def test_main_logs_the_folder_and_prints_the_page_last(tmp_path, monkeypatch, capsys):
    write_results(tmp_path, ["a", "b"])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(some_params().model_dump()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["report"])
    logged = []

    class Tracked:
        def log_artifacts(self, folder, target):
            logged.append((Path(folder), target, (Path(folder) / "index.html").is_file()))

    @contextmanager
    def stage_run(params, *, stage, run_file):
        assert (params, stage, run_file) == (some_params(), "report", Path("results/run.json"))
        yield Tracked()

    cards = []
    monkeypatch.setattr(report.tracking, "stage_run", stage_run)
    monkeypatch.setattr(report.tracking, "add_model_card", lambda run, card: cards.append(card.read_text(encoding="utf-8")))
    report.main()
    assert logged == [(Path("results/report"), "report", True)]
    assert len(cards) == 1 and "# made-" in cards[0]
    assert capsys.readouterr().out.splitlines()[-1] == "results/report/index.html"


EXPORTED = {"format": "int8", "file": "int8.tflite", "bytes": 3_140_000, "test_top1": 0.875, "test_top1_low": 0.8}
EXPORTED |= {
    "test_top1_high": 0.95,
    "clips": 140,
    "groups": 35,
    "accuracy_drop": 0.0,
    "agreement": 0.98765,
    "agreement_at_end": 0.99,
    "agreement_clear": 0.995,
    "agreement_top5": 0.999,
    "confidence_drift": 0.0123,
    "milliseconds_a_frame": 2.345,
    "state_bytes": 1_250_000,
}


@pytest.mark.usefixtures("unrendered_figures")
def test_exported_files_are_on_the_page_of_their_own_run_only(tmp_path, capsys):
    data, results = write_results(tmp_path, CLASSES)
    run_id = read_json(results / "run.json")["run_id"]
    write_json(results / "export.json", [EXPORTED | {"run_id": run_id}])
    page = _Page(report.run(some_params(), data=data, results=results).read_text(encoding="utf-8"))
    assert page.open == [] and "#export" in page.addresses
    assert "int8.tflite 3.14 MB 87.5% 80.0% – 95.0% 98.77% 99.00% 99.50% 99.90% 0.0123 2.35 ms 1.25 MB" in page.text
    write_json(results / "export.json", [EXPORTED | {"run_id": "another"}])
    page = _Page(report.run(some_params(), data=data, results=results).read_text(encoding="utf-8"))
    assert "int8.tflite" not in page.text and "#export" not in page.addresses
    assert "of another run" in capsys.readouterr().err


@pytest.mark.usefixtures("unrendered_figures")
def test_note_of_an_export_is_on_the_page(tmp_path):
    data, results = write_results(tmp_path, CLASSES)
    bare = {key: EXPORTED[key] for key in ("bytes", "test_top1", "clips", "groups", "accuracy_drop", "agreement")} | {
        "test_top1_low": None,
        "test_top1_high": None,
    }
    note, run_id = "a0 sees whole clips", read_json(results / "run.json")["run_id"]
    row = bare | {"format": "saved_model", "file": "saved_model", "run_id": run_id, "note": note}
    write_json(results / "export.json", [row])
    page = _Page(report.run(some_params(), data=data, results=results).read_text(encoding="utf-8"))
    assert "saved_model 3.14 MB 87.5% – 98.77% – – – – – –" in page.text and note in page.text


@pytest.mark.usefixtures("unrendered_figures")
@pytest.mark.parametrize("trainable", get_args(Finetune.model_fields["trainable"].annotation))
def test_every_kind_of_training_has_a_page(tmp_path, trainable):
    data, results = write_results(tmp_path, ["a", "b"], skill=2)
    params = some_params()
    params = params.model_copy(update={"finetune": params.finetune.model_copy(update={"trainable": trainable})})
    if trainable == "probe":
        history = pd.read_csv(results / "history.csv")
        history = history.assign(penalty=[10.0**-number for number in range(len(history))], learning_rate=float("nan"))
        history.to_csv(results / "history.csv", index=False)
    page = _Page(report.run(params, data=data, results=results).read_text(encoding="utf-8"))
    assert ("Kept: penalty" in page.text) == (trainable == "probe")
    assert ("Kept: epoch" in page.text) == (trainable != "probe")


@pytest.mark.usefixtures("unrendered_figures")
def test_suspects_are_on_the_page_with_what_to_do(tmp_path):
    data, results = write_results(tmp_path, CLASSES, suspects=25)
    page = _Page(report.run(some_params(), data=data, results=results).read_text(encoding="utf-8"))
    assert page.open == [] and "#labels" in page.addresses
    judged = read_json(results / "metrics.json")["label_errors"]["judged"]
    assert f"25 of {judged} labels may be wrong" in page.text and "3 clips of classes with one group" in page.text
    assert "92.5% of the clips get the class of their label" in page.text and "correct it at its source" in page.text
    assert "and 5 more clips; all are in results/suspects.csv" in page.text


@pytest.mark.usefixtures("unrendered_figures")
@pytest.mark.parametrize(
    ("label_errors", "expected"),
    [
        ({"reason": "the backbone was trained"}, "No label is called into question: the backbone was trained. No clip is named."),
        ({"clips": 9, "judged": 9, "accuracy": 0.9}, "0 of 9 labels may be wrong"),
        (None, "Labels were not judged: an earlier version evaluated this run."),
    ],
)
def test_without_suspects_the_page_says_why(tmp_path, label_errors, expected):
    data, results = write_results(tmp_path, CLASSES)
    write_json(results / "metrics.json", read_json(results / "metrics.json") | {"label_errors": label_errors})
    page = _Page(report.run(some_params(), data=data, results=results).read_text(encoding="utf-8"))
    assert expected in page.text and "correct it at its source" not in page.text
