"""A checkout with an mlflow.db that was moved or copied: its artifacts are where it is now, and nowhere else."""

import shutil
import sqlite3
from pathlib import Path

import mlflow
import pytest

from pipeline.checks.tracking import check_tracking
from pipeline.console import UserError
from pipeline.tracking import begin_run, configure, store
from pipeline.tracking.relocation import former_artifacts, relocate
from pipeline.tracking.store import artifact_root, experiment_id, open_client
from tests.tracking_store import RUN_FILE, composed, empty_database, evaluate, finetune, params, place, stored  # noqa: F401


@pytest.fixture
def checkout(place, empty_database, monkeypatch):
    """`place/first`, with one run, its artifact, a logged model and a registered version."""
    return enter(place / "first", monkeypatch, empty_database)


def enter(folder: Path, monkeypatch, database: Path | None = None) -> Path:
    """Works in the repository `folder` from now on, as a new process would."""
    if database is not None:
        (folder / "data").mkdir(parents=True)
        shutil.copy("data/manifest.csv", folder / "data")
        shutil.copy(database, folder / "mlflow.db")
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(store, "_ready", set())
    mlflow.tracking._tracking_service.utils._artifact_repos_cache.clear()
    return folder


def fill(params) -> str:
    """A run with an artifact, a model and a registered version; returns its id."""
    with begin_run(params, RUN_FILE) as run:
        run.log_artifact(Path("data/manifest.csv"))
    experiment = experiment_id(run.client, "sample")
    model = run.client.create_logged_model(experiment, name="classifier", source_run_id=run.run_id)
    run.client.create_registered_model("sample-a0")
    run.client.create_model_version("sample-a0", source=model.model_uri, run_id=run.run_id, model_id=model.model_id)
    return run.run_id


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def dump(database: Path) -> str:
    connection = sqlite3.connect(database)
    text = "\n".join(connection.iterdump())
    connection.close()
    return text


def test_a_moved_checkout_uses_its_new_folder(params, checkout, monkeypatch, capsys):
    run_id = fill(params)
    assert str(checkout) in dump(Path("mlflow.db"))
    moved = checkout.with_name("my projet é") / "p"
    moved.parent.mkdir()
    checkout.rename(moved)
    enter(moved, monkeypatch)
    capsys.readouterr()

    found = check_tracking()
    assert found.status == "ok" and f"was made for {(checkout / 'mlartifacts').as_uri()}" in found.message
    assert str(checkout) in dump(Path("mlflow.db"))  # the doctor changes nothing

    client = open_client()
    assert capsys.readouterr().err.count(str(checkout)) == 1
    assert (checkout / "mlartifacts").as_uri() not in dump(Path("mlflow.db"))
    assert {item.path for item in client.list_artifacts(run_id)} == {"environment.json", "manifest.csv"}
    assert client.get_model_version_download_uri("sample-a0", "1").startswith(artifact_root())
    model = client.get_model_version("sample-a0", "1").source.removeprefix("models:/")
    assert client.get_logged_model(model).artifact_location.startswith(artifact_root())
    evaluate(params)  # continues that run
    with begin_run(params, RUN_FILE) as run:
        run.log_artifact(Path("data/manifest.csv"))
    for each in (run_id, run.run_id):
        assert (moved / "mlartifacts" / each / "artifacts/manifest.csv").is_file()
    assert not checkout.exists()
    assert "was made for" not in check_tracking().message


def test_a_copy_never_writes_into_the_original(params, checkout, monkeypatch):
    run_id = fill(params)
    shutil.copytree(checkout, checkout.with_name("copy"))
    before, database = files(checkout), dump(checkout / "mlflow.db")
    enter(checkout.with_name("copy"), monkeypatch)
    with begin_run(params, RUN_FILE) as run:
        run.log_artifact(Path("data/manifest.csv"))
    run.client.log_text(run_id, "in the copy", "note.txt")
    assert Path(f"mlartifacts/{run_id}/artifacts/note.txt").read_text() == "in the copy"
    assert files(checkout) == before and dump(checkout / "mlflow.db") == database


def test_only_locations_of_the_old_folder_change(params, checkout, monkeypatch):
    configure()
    client = open_client()
    others = [f"{artifact_root()}-of-mine", "s3://bucket/mlartifacts", (checkout / "elsewhere").as_uri()]
    for location in others:
        client.create_experiment(location, artifact_location=location)
    moved = checkout.with_name("second")
    checkout.rename(moved)
    enter(moved, monkeypatch)
    assert [open_client().get_experiment_by_name(name).artifact_location for name in others] == others


def test_a_database_elsewhere_is_left_alone(params, checkout, monkeypatch):
    fill(params)
    before = dump(checkout / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{checkout}/mlflow.db")
    enter(checkout.with_name("another"), monkeypatch, checkout / "mlflow.db")
    (checkout.with_name("another") / "mlflow.db").unlink()
    configure()
    assert dump(checkout / "mlflow.db") == before


def test_a_change_is_whole_or_not_at_all(checkout):
    configure()
    database, new = checkout / "mlflow.db", "file:///new/mlartifacts"
    connection = sqlite3.connect(database)
    connection.execute("ALTER TABLE model_versions RENAME TO hidden")  # the last table that would be changed
    connection.commit()
    before = dump(database)
    with pytest.raises(sqlite3.OperationalError):
        relocate(database, new)
    assert dump(database) == before
    connection.execute("ALTER TABLE hidden RENAME TO model_versions")
    connection.commit()
    connection.close()
    relocate(database, new)
    assert former_artifacts(database, new) is None and former_artifacts(database, artifact_root()) == new


def test_an_experiment_whose_artifacts_cannot_be_written_is_one_line_before_training(params, checkout):
    open_client().create_experiment("sample", artifact_location=(checkout / "mlflow.db/artifacts").as_uri())
    with (
        pytest.raises(UserError, match=r"keeps its artifacts in .*mlflow.db/artifacts, which cannot be written"),
        begin_run(params, RUN_FILE),
    ):
        pytest.fail("trained")
