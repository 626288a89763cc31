"""A file per trial with its state. The process that runs the trial writes it; the sweep's process reads all of them.

The records are files because launchers run trials in other processes and on other machines, which may be killed.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from pipeline.artifacts import Metrics
from pipeline.files import read_json, write_json


class Trial(BaseModel):
    """One trial.

    Attributes:
      name: of its DVC experiment.
      overrides: of the configuration, by key.
      sweep: identity of the process of the sweep that last had this trial.
      jobs: numbers of that sweep's Hydra jobs that ran this trial; a sampler may propose the same trial twice.
      stage: the stage that runs; empty before and after.
      origin: computed by this sweep, or restored from DVC's cache.
      error: the reason of a failure, in one line.
      seconds: duration of its experiment when it last ran.
      commit: of the finished experiment; None of a trial that only trained its top in a sweep's process.
      run_id: its MLflow run under the sweep's.
      model_run_id, evaluated_run_id: the runs that finetune and evaluate logged to.
      network: equal for trials whose networks differ in nothing but values (costs.network_key).
      step_ms: milliseconds of a training step, the median over the epochs, with whatever else the machine did.
      objective: the score by which trials are compared.
    """

    name: str
    overrides: dict[str, str]
    sweep: str = ""
    jobs: list[int] = []
    status: Literal["running", "finished", "failed"] = "running"
    stage: str = ""
    origin: Literal["computed", "restored"] | None = None
    error: str | None = None
    seconds: float | None = None
    commit: str | None = None
    run_id: str | None = None
    model_run_id: str | None = None
    evaluated_run_id: str | None = None
    metrics: Metrics | None = None
    network: str | None = None
    step_ms: float | None = None
    objective: float | None = None


class Records:
    """The records of a sweep's folder: `<trial>.json`, and `<trial>.log` with the output of the stages."""

    def __init__(self, folder: Path, sweep: str):
        self.folder, self.sweep = Path(folder), sweep

    def begin(self, name: str, overrides: dict[str, str], job: int) -> Trial:
        """A trial that starts. If a trial of that name exists, the new record keeps its results."""
        path = self._path(name)
        known = Trial(**read_json(path)) if path.exists() else Trial(name=name, overrides=overrides)
        jobs = [*known.jobs, job] if known.sweep == self.sweep else [job]
        return known.model_copy(
            update={"overrides": overrides, "sweep": self.sweep, "jobs": jobs, "status": "running", "stage": "", "error": None}
        )

    def write(self, trial: Trial) -> None:
        write_json(self._path(trial.name), trial.model_dump(mode="json"))

    def trials(self) -> list[Trial]:
        """The trials of this sweep, in the order of their first jobs."""
        known = [Trial(**read_json(path)) for path in self.folder.glob("*-*.json")]
        return sorted((trial for trial in known if trial.sweep == self.sweep), key=lambda trial: trial.jobs)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
