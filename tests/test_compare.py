"""The command as users run it: folders, MLflow runs and real DVC experiments; what it writes, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from commands import compare as command
from pipeline.console import UserError
from pipeline.tracking.runs import Run
from pipeline.tracking.store import experiment_id, open_client
from tests.comparison.models import NAMES, clip, write_model
from tests.comparison.test_compare import FIRST_CLIPS
from tests.tracking_store import empty_database, place, store  # noqa: F401

FILES = ["comparison.md", "flips.csv", "index.html", "intervals.png"]


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["compare", *arguments])
        command.main()
        return tuple(capsys.readouterr())

    return run


@pytest.fixture
def folders(place, monkeypatch):
    """Two models; no MLflow store."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(place.parent))
    write_model(place / "runs/probe", FIRST_CLIPS, validation=[f"{name}v" for name in NAMES])
    write_model(place / "runs/head", [clip("jump", 1, 2)], validation=[f"{name}v" for name in NAMES])
    return place


def test_folders_give_a_page_a_text_a_figure_and_a_table(folders, run):
    out, err = run("runs/probe", "runs/head")
    assert "runs/probe: folder " in err and "head is better than probe: +29.2 points" in err
    header, probe, head, index = out.splitlines()
    assert header.split() == ["model", "accuracy", "log", "loss", "difference", "verdict"]
    assert probe.startswith("probe  66.7% (") and probe.endswith("baseline")
    assert head.startswith("head   95.8% (") and head.split()[-2:] == ["+29.2", "better"]
    assert index == "results/comparisons/probe-vs-head/index.html"
    folder = Path(index).parent
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert (folder / "intervals.png").read_bytes().startswith(b"\x89PNG")
    flips = pd.read_csv(folder / "flips.csv").set_index("clip")
    assert sorted(flips.index) == sorted([*FIRST_CLIPS, clip("jump", 1, 2)])
    assert list(flips.loc[clip("jump", 1, 2)]) == ["jump_g1", "jump", "probe", "jump", 0.8, "head", "dance", 0.3]
    assert not Path("mlflow.db").exists() and not Path("mlartifacts").exists()


def test_equal_inputs_give_equal_files(folders, run):
    run("runs/probe", "runs/head")
    folder = Path("results/comparisons/probe-vs-head")
    before = {name: (folder / name).read_bytes() for name in FILES}
    run("runs/probe", "runs/head")
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_long_names_have_folders_of_their_own(folders, run):
    for name in ("1", "2"):
        write_model(folders / f"{'long' * 25}{name}", FIRST_CLIPS)
        out, _ = run("runs/head", f"{'long' * 25}{name}")
        assert len(Path(out.splitlines()[-1]).parent.name) < 100
    assert len(list(Path("results/comparisons").iterdir())) == 2


def test_validation_has_a_folder_of_its_own(folders, run):
    out, _ = run("runs/probe", "runs/head", "--split", "validation")
    assert out.splitlines()[-1] == "results/comparisons/probe-vs-head-validation/index.html"
    assert "the same clips right" in out


def test_settings_are_those_of_the_first_model_unless_given(folders, run):
    Path("runs/probe/params.yaml").write_text("seed: 5\nevaluate: {bootstrap: 300, confidence: 0.9}\n")
    run("runs/probe", "runs/head", "--out", "a")
    assert "accuracy (90% interval)" in Path("a/index.html").read_text()
    assert "(300 times)" in Path("a/index.html").read_text()
    run("runs/probe", "runs/head", "--out", "b", "--confidence", "0.99", "--resamples", "500")
    assert "accuracy (99% interval)" in Path("b/index.html").read_text()
    assert "(500 times)" in Path("b/index.html").read_text()


def test_other_files_are_not_replaced(folders, run):
    with pytest.raises(UserError, match="--out runs: holds other files"):
        run("runs/probe", "runs/head", "--out", "runs")
    with pytest.raises(UserError, match=r"--out runs/probe/predictions.csv: is a file"):
        run("runs/probe", "runs/head", "--out", "runs/probe/predictions.csv")
    assert Path("runs/probe/predictions.csv").exists()


def test_bad_requests_are_one_line(folders, run):
    with pytest.raises(UserError, match="a comparison needs two models, and runs/probe is one"):
        run("runs/probe")
    with pytest.raises(UserError, match="--confidence 1: leaves no interval"):
        run("runs/probe", "runs/head", "--confidence", "1")
    with pytest.raises(UserError, match="nothing: not found"):
        run("runs/probe", "nothing")


def log_run(name: str, experiment: str, folder: Path | None, params: dict[str, str]) -> str:
    """A run as the stages log it."""
    client = open_client()
    made = client.create_run(experiment_id(client, experiment), run_name=name)
    run = Run(made.info.run_id, name, experiment, client.tracking_uri, "begun", client)
    run.log_params(params)
    for epoch, seconds in ((1, 1.5), (2, 2.0)):
        run.log_metrics({"train": {"seconds": seconds}}, step=epoch)
    export = {"bytes": 2_000_000, "test_top1": 0.9, "clips": 24, "groups": 8, "accuracy_drop": 0.0, "agreement": 1.0}
    run.log_metrics({"export": {"int8": export}, "cost": {"parameters": 77}})
    run.set_tags({"export.formats": '["int8"]'})
    if folder is not None:
        run.log_artifact(folder / "predictions.csv")
    client.set_terminated(run.run_id, "FINISHED")
    return run.run_id


def test_mlflow_runs_are_read_and_the_comparison_is_a_run_of_its_own(store, folders, run):
    common = {"seed": "1", "finetune.epochs": "5"}
    first = log_run("first", "five", folders / "runs/probe", common | {"finetune.trainable": "probe"})
    log_run("second", "five", folders / "runs/head", common | {"finetune.trainable": "head"})
    client = open_client()
    before = client.get_run(first).to_dictionary()

    out, err = run(first, "second")
    assert f"{first}: MLflow run {first}" in err and "second: MLflow run " in err
    assert out.splitlines()[-1] == "results/comparisons/first-vs-second/index.html"
    page = Path(out.splitlines()[-1]).read_text()
    assert '<th scope="row">finetune.trainable</th><td class="words">probe</td><td class="words">head</td>' in page
    assert "finetune.epochs" not in page and "export.formats" not in page
    assert '<th scope="row">first</th><td class="number">77</td><td class="number">3.5</td><td class="words">probe</td>' in page
    assert '<td class="words">int8</td><td class="number">2.00</td><td class="number">90.0%</td>' in page

    (made,) = client.search_runs([experiment_id(client, "five")], "attributes.run_name = 'first-vs-second'")
    assert f"logged as MLflow run {made.info.run_id}" in err and made.info.status == "FINISHED"
    assert {item.path for item in client.list_artifacts(made.info.run_id, "comparison")} == {
        f"comparison/{name}" for name in FILES
    }
    assert made.data.metrics["scores/second/top1"] == pytest.approx(23 / 24)
    assert made.data.metrics["difference/second - first/top1"] == pytest.approx(7 / 24)
    assert (made.data.tags["comparison.model.1"], made.data.tags["comparison.model.2"]) == ("first", "second")
    assert client.get_run(first).to_dictionary() == before

    run(first, "second")
    assert len(client.search_runs([experiment_id(client, "five")])) == 3  # the same comparison is the same run
    run(first, "second", "--split", "validation", "--no-mlflow")
    assert len(client.search_runs([experiment_id(client, "five")])) == 3


def test_folders_of_unknown_origin_are_logged_under_comparisons(store, folders, run):
    run("runs/probe", "runs/head")
    client = open_client()
    (made,) = client.search_runs([experiment_id(client, "comparisons")])
    assert made.info.run_name == "probe-vs-head"


def test_a_run_without_predictions_or_with_a_shared_name_is_one_line(store, folders, run):
    log_run("bare", "five", None, {})
    with pytest.raises(UserError, match=r"bare \(MLflow run [0-9a-f]{32}\): has no artifact predictions.csv"):
        run("bare", "runs/head")
    same = [log_run("twice", "five", folders / "runs/probe", {}) for _ in range(2)]
    with pytest.raises(UserError, match="twice: ambiguous") as error:
        run("twice", "runs/head")
    assert all(f"mlflow:{run_id}" in error.value.advice for run_id in same)


STAGE = """
import pathlib, shutil, yaml
fold = yaml.safe_load(open("params.yaml"))["model"]
pathlib.Path("results").mkdir(exist_ok=True)
shutil.copy(f"models/{fold}.csv", "results/predictions.csv")
"""
PIPELINE = """
stages:
  evaluate:
    cmd: python stage.py
    deps: [stage.py, models]
    params: [model]
    outs: [results/predictions.csv]
"""


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """A repository with a pipeline of one stage, run on `main`, and as experiments `wide` and `again`."""
    root = tmp_path / "repository"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    for name, wrong in (("narrow", FIRST_CLIPS), ("wide", [])):
        path = write_model(tmp_path / name, wrong) / "predictions.csv"
        Path("models").mkdir(exist_ok=True)
        path.rename(f"models/{name}.csv")
    Path("stage.py").write_text(STAGE)
    Path("dvc.yaml").write_text(PIPELINE)
    Path("params.yaml").write_text("model: narrow\n")
    execute("git", "init", "-q", "-b", "main")
    execute("git", "config", "user.name", "Test")
    execute("git", "config", "user.email", "test@example.org")
    execute(sys.executable, "-m", "dvc", "init", "-q")
    execute("git", "add", "-A")
    execute("git", "commit", "-q", "-m", "pipeline")
    execute(sys.executable, "-m", "dvc", "repro", "-q")
    execute("git", "add", "-A")
    execute("git", "commit", "-q", "-m", "results")
    execute(sys.executable, "-m", "dvc", "exp", "run", "-q", "--temp", "-n", "wide", "-S", "model=wide")
    return root


def execute(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_experiments_commits_and_the_workspace(experiments, run):
    def state() -> list[str]:
        return [execute("git", "status", "--porcelain"), execute("git", "rev-parse", "HEAD"), execute("git", "for-each-ref")]

    Path(".gitignore").write_text("/results/comparisons\n")
    before = state()
    out, err = run("main", "wide")
    assert "main: git branch at " in err and "wide: DVC experiment on " in err
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["main", "wide"]
    assert out.splitlines()[1].startswith("main   66.7%") and out.splitlines()[2].startswith("wide   100.0%")
    page = Path("results/comparisons/main-vs-wide/index.html").read_text()
    assert '<th scope="row">model</th><td class="words">narrow</td><td class="words">wide</td>' in page
    out, _ = run("wide", "workspace")
    assert out.splitlines()[2].startswith("workspace  66.7%") and out.splitlines()[2].endswith("worse")
    assert state() == before
    with pytest.raises(UserError, match=r"main~1 \(git commit .*\): its results/predictions.csv was not made"):
        run("main~1", "wide")
    for path in Path(".dvc/cache").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.unlink()
    with pytest.raises(
        UserError, match=r"wide \(DVC experiment .*\): its results/predictions.csv was not made, or is neither in DVC's cache"
    ):
        run("wide", "main")
