import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from stages.console import UserError
from stages.params import parse_params
from stages.tracking import begin_run, configure, stage_run
from stages.tracking.runs import _owner
from stages.tracking.store import DEFAULTS, experiment_id, open_client, without_credentials
from tests.tracking_store import composed, empty_database, place, run_python, store  # noqa: F401

RUN_FILE, RESULT_FILE = Path("models/run.json"), Path("results/run.json")


@pytest.fixture
def params(composed):
    return parse_params(composed)


def history(epochs):
    columns = {"loss": 0.5, "accuracy": 0.75, "validation_loss": float("nan"), "validation_accuracy": 0.5, "learning_rate": 0.1}
    return pd.DataFrame([{"epoch": epoch, **columns} for epoch in range(1, epochs + 1)])


def finetune(params, epochs=3):
    with begin_run(params, RUN_FILE) as run:
        run.log_history(history(epochs))
    return run


def evaluate(params, top1=0.5):
    with stage_run(params, "evaluate", RUN_FILE, RESULT_FILE) as run:
        run.log_metrics({"test": {"top1": top1, "top5": None}, "validation": {"top1": 0.25}})
    return run


def stored(run):
    return run.client.get_run(run.run_id)


def test_importing_tracking_imports_neither_mlflow_nor_tensorflow():
    code = "import sys, stages.tracking; print([m for m in ('mlflow', 'tensorflow', 'pandas') if m in sys.modules])"
    assert run_python(code).communicate()[0].strip() == "[]"


def test_begun_run_says_what_it_was_made_from(params, store, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "wavy-name")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc123")
    run = finetune(params)
    found = stored(run)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == run.name == "wavy-name"
    written = json.loads(RUN_FILE.read_text())
    assert written == {"run_id": run.run_id, "experiment": "sample", "tracking_uri": f"sqlite:///{store}/mlflow.db"}
    assert found.data.params["finetune.learning_rate"] == str(params.finetune.learning_rate)
    assert found.data.params["data.classes"] == "null"
    assert found.data.params["data.split.scheme"] == "official"
    assert not [name for name in found.data.params if name.startswith(("evaluate.", "report."))]
    assert found.data.tags["dvc.exp.name"] == "wavy-name"
    assert found.data.tags["dvc.exp.baseline"] == "abc123"
    assert found.data.tags["model"] == params.model.id
    contexts = {item.tags[0].value: item.dataset for item in found.inputs.dataset_inputs}
    assert list(contexts) == ["train", "validation", "test"]
    assert json.loads(contexts["train"].profile)["num_rows"] == 4
    assert len({data.digest for data in contexts.values()}) == 3


def test_history_and_metrics_are_named_by_part(params, store):
    run = finetune(params, epochs=2)
    assert set(stored(run).data.metrics) == {"train/loss", "train/accuracy", "train/learning_rate", "validation/accuracy"}
    assert [point.step for point in run.client.get_metric_history(run.run_id, "train/loss")] == [1, 2]
    assert stored(evaluate(params)).data.metrics["test/top1"] == 0.5


def test_run_without_dvc_experiment_is_named_after_the_model(params, store):
    run = finetune(params)
    assert run.name == f"{params.model.id}-{params.finetune.trainable}-{run.run_id[:6]}"
    assert stored(run).info.run_name == run.name


def test_each_stage_continues_the_same_run(params, store):
    begun = finetune(params)
    evaluated = evaluate(params)
    with stage_run(params, "report", RESULT_FILE) as reported:
        assert stored(reported).info.status == "RUNNING"
        Path("index.html").write_text("page")
        reported.log_artifact(Path("index.html"), "report")
    assert begun.run_id == evaluated.run_id == reported.run_id == json.loads(RESULT_FILE.read_text())["run_id"]
    assert evaluated.origin == reported.origin == "continued"
    found = stored(reported)
    assert found.info.status == "FINISHED"
    assert [found.data.tags[f"stage.{stage}"] for stage in ("finetune", "evaluate", "report")] == ["done"] * 3
    assert found.data.params["evaluate.views"] == str(params.evaluate.views)
    assert found.data.params["report.confused_pairs"] == str(params.report.confused_pairs)
    assert (store / "mlartifacts" / reported.run_id / "artifacts/report/index.html").read_text() == "page"


def test_second_evaluation_of_one_training_gets_its_own_run(composed, params, store):
    first = finetune(params)
    evaluate(params, top1=0.5)
    time.sleep(0.01)
    changed = parse_params(composed | {"evaluate": composed["evaluate"] | {"views": 7}})
    second = evaluate(changed, top1=0.75)
    assert second.origin == "copied"
    assert json.loads(RESULT_FILE.read_text())["run_id"] == second.run_id != first.run_id
    old, new = stored(first), stored(second)
    assert new.data.tags["finetuned_by"] == first.run_id
    assert new.data.params == old.data.params | {"evaluate.views": "7"}
    assert new.data.metrics == old.data.metrics | {"test/top1": 0.75}
    assert [point.value for point in second.client.get_metric_history(second.run_id, "test/top1")] == [0.75]
    assert [point.step for point in second.client.get_metric_history(second.run_id, "train/loss")] == [1, 2, 3]
    assert len(new.inputs.dataset_inputs) == 3
    assert new.data.tags["stage.finetune"] == "done"
    assert old.data.metrics["test/top1"] == 0.5


@pytest.mark.parametrize("removed", ["unknown", "deleted"])
def test_outputs_made_elsewhere_get_a_run_here(params, store, removed):
    first = finetune(params)
    if removed == "deleted":
        first.client.delete_run(first.run_id)
        old_id = first.run_id
    else:
        old_id = "0123456789abcdef0123456789abcdef"
        RUN_FILE.write_text(json.dumps({"run_id": old_id}))
    run = evaluate(params)
    assert run.origin == "restored" and run.run_id != old_id
    assert stored(run).data.tags["restored_from"] == old_id
    assert stored(run).data.params["model.id"] == params.model.id


@pytest.mark.parametrize(("raised", "status"), [(ValueError("no such layer"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_ending_badly_is_recorded_and_writes_no_run_file(params, store, raised, status):
    with pytest.raises(type(raised)), begin_run(params, RUN_FILE) as run:
        raise raised
    found = stored(run)
    assert found.info.status == status
    assert found.data.tags["error"].startswith(f"finetune: {type(raised).__name__}")
    assert found.data.tags["stage.finetune"] != "done"
    assert not RUN_FILE.exists()
    if status == "FAILED":
        text = (store / "mlartifacts" / run.run_id / "artifacts/error.txt").read_text()
        assert "Traceback" in text and "no such layer" in text


def test_evaluation_that_failed_continues_its_run_even_with_other_parameters(composed, params, store):
    finetune(params)
    with pytest.raises(ValueError), stage_run(params, "evaluate", RUN_FILE):
        raise ValueError("first try")
    changed = parse_params(composed | {"evaluate": composed["evaluate"] | {"views": 7}})
    run = evaluate(changed)
    found = stored(run)
    assert run.origin == "continued" and found.info.status == "FINISHED"
    assert found.data.params["evaluate.views"] == "7"
    assert "error" not in found.data.tags


def test_run_that_a_living_process_evaluates_is_left_to_it(params, store):
    begun = finetune(params)
    ended = subprocess.Popen(["true"])
    ended.wait()
    for owner, origin in ((_owner(), "copied"), (f"{socket.gethostname()}:{ended.pid}", "continued")):
        begun.set_tags({"stage.evaluate": owner, "stage.evaluate.began": int(time.time() * 1000)})
        begun.client.update_run(begun.run_id, status="RUNNING")
        with stage_run(params, "evaluate", RUN_FILE) as run:
            assert run.origin == origin


def test_system_metrics_are_sampled_while_training(composed, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    params = parse_params(composed | {"tracking": composed["tracking"] | {"system_metrics": True}})
    with begin_run(params, RUN_FILE) as run:
        time.sleep(1)
    assert stored(run).data.metrics["system/system_memory_usage_megabytes"] > 0


def test_run_names_the_commit_and_whether_the_code_differs(params, store, monkeypatch):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=store).stdout.strip()

    (store / "stages").mkdir()
    (store / "stages/a.py").write_text("1")
    (store / ".gitignore").write_text("mlflow.db*\nmlartifacts/\nmodels/\n")
    (store / "params.yaml").write_text("a: 1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    (store / "params.yaml").write_text("a: 2")  # as DVC does
    tags = stored(finetune(params)).data.tags
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["git.dirty"] == "false"
    (store / "stages/new.py").write_text("1")
    elsewhere = store / "copy"  # no repository in the current directory: the original one is asked
    shutil.copytree(store / "data", elsewhere / "data")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(store))
    monkeypatch.chdir(elsewhere)
    tags = stored(finetune(params)).data.tags
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["git.dirty"] == "true"


def test_missing_manifest_is_one_line_and_begins_no_run(params, store):
    Path("data/manifest.csv").unlink()
    with pytest.raises(UserError, match=r"data/manifest.csv: not found"), begin_run(params, RUN_FILE):
        pass
    assert open_client().search_experiments(filter_string="name = 'sample'") == []


def test_deleted_experiment_is_one_line(params, store):
    client = open_client()
    client.delete_experiment(experiment_id(client, "sample"))
    with pytest.raises(UserError, match="is deleted; `mlflow experiments restore"), begin_run(params, RUN_FILE):
        pass


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "./mlruns", "mlruns", "sqlite://", "sqlite:///:memory:"])
def test_stores_that_keep_no_runs_are_refused(place, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI=.*set it to sqlite:////absolute/path.db"):
        configure()


def test_relative_database_is_the_repositorys_wherever_the_stage_runs(store, monkeypatch):
    (store / "elsewhere").mkdir()
    monkeypatch.chdir(store / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert configure() == f"sqlite:///{store}/mlflow.db"


def test_server_that_does_not_answer_is_one_line_within_seconds(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:secret@127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(UserError, match="no answer; start the server") as caught:
        configure()
    assert time.monotonic() - began < 15
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == DEFAULTS["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]


@pytest.mark.parametrize(
    ("uri", "clean"),
    [
        ("https://anna:secret@host:5000/path?token=1", "https://host:5000/path"),
        ("postgresql+psycopg2://anna:se@cret@host/db?password=1", "postgresql+psycopg2://host/db"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("data/sample.zip", "data/sample.zip"),
    ],
)
def test_credentials_are_not_written_down(uri, clean):
    assert without_credentials(uri) == clean


@pytest.mark.slow
def test_processes_that_meet_an_empty_database_agree(place):
    code = "from stages.tracking.store import *; print(experiment_id(open_client(), 'shared'))"
    processes = [run_python(code) for _ in range(4)]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, answers
    assert len({out for out, _ in answers}) == 1
    assert [err for _, err in answers] == [""] * 4  # and nothing that does not concern the user
    assert not [path for path in place.iterdir() if path.name != "data" and not path.name.startswith("mlflow.db")]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_server_keeps_runs_and_artifacts(params, store, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(store / "mlflow.db", folder / "server.db")
    (store / "mlflow.db").unlink()
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "kept")]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen([*command, *stores], cwd=folder, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, folder / "log")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        begun = finetune(params)
        run = evaluate(params)
        run.log_artifact(RUN_FILE)
        assert run.run_id == begun.run_id and evaluate(params).origin == "copied"
        assert stored(run).data.metrics["test/top1"] == 0.5
        assert [path.name for path in (folder / "kept").rglob("run.json")] == ["run.json"]
        assert not (store / "mlflow.db").exists()
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_for(url, process, log):
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"no answer from {url}: {log.read_text()}")
