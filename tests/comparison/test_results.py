"""Results read from a folder in either layout, with what is present beside the predictions."""

import json
import shutil

import pytest

from pipeline.artifacts import ClassifierDescription, ExportRow, Metrics, RunRecord, Scores, write_export
from pipeline.comparison.results import read_results
from pipeline.console import UserError
from tests.comparison.models import NAMES, clip, write_model

DESCRIPTION = ClassifierDescription(
    classes=["dance", "jump"], model="a0", trainable="probe", fps=5.0, size=172, count=16, views=2, parameters=1234
)
ROW = ExportRow(format="int8", file="int8.tflite", bytes=10, test_top1=1.0, clips=24, groups=8, accuracy_drop=0.0, agreement=1.0)


def scores(top1: float, clips: int = 24) -> Scores:
    unknown = dict.fromkeys(("top1_low", "top1_high", "top5_low", "top5_high", "macro_f1_low", "macro_f1_high"))
    return Scores(top1=top1, top5=1.0, macro_f1=0.9, log_loss=0.3, ece=0.1, clips=clips, groups=8, **unknown)


@pytest.fixture
def folder(tmp_path):
    """The layout of the repository, with everything."""
    root = tmp_path / "run"
    write_model(root / "results", [NAMES[0]])
    Metrics(test=scores(23 / 24)).write(root / "results/metrics.json")
    RunRecord(run_id="one", experiment="five").write(root / "results/run.json")
    (root / "results/history.csv").write_text("epoch,loss,seconds\n1,0.5,1.5\n2,0.4,2.25\n")
    write_export(root / "results/export.json", [ROW.model_copy(update={"run_id": "one"})])
    (root / "models/classifier").mkdir(parents=True)
    DESCRIPTION.write(root / "models/classifier/classifier.json")
    (root / "params.yaml").write_text("seed: 1\nfinetune: {learning_rate: 0.01}\n")
    (root / "data").mkdir()
    rows = "".join(f"{name},{name.split('/')[1][:-7]},test,{'0' * 64},,,more\n" for name in NAMES)
    (root / "data/manifest.csv").write_text("clip,group,split,sha256,start,end,other\n" + rows)
    return root


def check(model):
    assert len(model.predictions) == 24 and model.label == "one"
    assert model.cost.parameters == 1234 and model.cost.training_seconds == 3.75
    assert (model.cost.trained, model.cost.fed) == ("probe", "2 views of 16 frames at 5 a second, 172 x 172 pixels")
    assert [row.file for row in model.cost.exports] == ["int8.tflite"]
    assert model.params == {"seed": "1", "finetune.learning_rate": "0.01"}
    assert model.experiment == "five"
    assert list(model.contents["clip"]) == NAMES


def test_both_layouts_are_read_alike(folder, tmp_path):
    check(read_results(folder, "one", ""))
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in folder.rglob("*.*"):
        shutil.copy(path, flat)
    check(read_results(flat, "one", ""))


def test_predictions_are_enough(tmp_path):
    model = read_results(write_model(tmp_path / "bare"), "bare", "")
    assert model.params == {} and model.contents is None and model.experiment == ""
    assert (model.cost.parameters, model.cost.training_seconds, model.cost.exports) == (None, None, ())


@pytest.mark.parametrize("wrong", [scores(22 / 24), scores(23 / 24, clips=23)])
def test_metrics_of_other_predictions_are_refused(folder, wrong):
    Metrics(test=wrong).write(folder / "results/metrics.json")
    with pytest.raises(UserError, match=r"one: metrics.json and predictions.csv are of different runs"):
        read_results(folder, "one", "")


def test_an_export_of_another_run_is_left_out_and_said(folder, capsys):
    write_export(folder / "results/export.json", [ROW.model_copy(update={"run_id": "other"})])
    assert read_results(folder, "one", "").cost.exports == ()
    assert "one: export.json is of another run" in capsys.readouterr().err


def test_an_older_manifest_is_left_out_and_said(folder, capsys):
    (folder / "data/manifest.csv").write_text("clip,group,split\n")
    assert read_results(folder, "one", "").contents is None
    assert "one: manifest.csv lacks the column sha256" in capsys.readouterr().err


def test_errors_name_the_model_and_the_file_not_the_folder_it_was_read_from(folder):
    text = (folder / "results/predictions.csv").read_text()
    (folder / "results/predictions.csv").write_text(text.replace(clip("dance", 1, 2), clip("dance", 1, 1)))
    with pytest.raises(UserError, match=r"^one: results/predictions.csv: dance/dance_g1_c1.avi: listed twice"):
        read_results(folder, "one", "")
    (folder / "results/predictions.csv").write_text(text)
    (folder / "params.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"^one: params.yaml: not valid YAML"):
        read_results(folder, "one", "")


def test_a_broken_file_beside_the_predictions_is_refused(folder):
    (folder / "results/run.json").write_text(json.dumps({"experiment": "five"}))
    with pytest.raises(UserError, match=r"one: results/run.json: lacks run_id"):
        read_results(folder, "one", "")
