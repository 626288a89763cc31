"""The record of each trial, a file: written by the process that runs it, read by the one that shows and compares all.

Files rather than memory, because launchers run trials in other processes and on other machines, and any of them may be killed.
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
      overrides: what it was composed with, key to value.
      sweep: identity of the process of the sweep that last had this trial.
      jobs: numbers of that sweep's Hydra jobs that are this trial; a sampler may propose one twice.
      stage: where it is while it runs.
      origin: computed by this sweep, or restored from DVC's cache.
      error: why it failed, one line.
      seconds: duration of its experiment when it last ran.
      commit: of the finished experiment.
      run_id: its MLflow run under the sweep's.
      model_run_id, evaluated_run_id: the runs that finetune and evaluate logged to.
      objective: the score it is compared by.
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
    objective: float | None = None


class Records:
    """The records of one start of a sweep, in its folder: `<trial>.json`, and `<trial>.log` with what the stages print."""

    def __init__(self, folder: Path, sweep: str):
        self.folder, self.sweep = Path(folder), sweep

    def begin(self, name: str, overrides: dict[str, str], job: int) -> Trial:
        """A trial that starts; where an earlier one of that name finished, it keeps what that came to."""
        path = self._path(name)
        known = Trial(**read_json(path)) if path.exists() else Trial(name=name, overrides=overrides)
        jobs = [*known.jobs, job] if known.sweep == self.sweep else [job]
        return known.model_copy(
            update={"overrides": overrides, "sweep": self.sweep, "jobs": jobs, "status": "running", "stage": "", "error": None}
        )

    def write(self, trial: Trial) -> None:
        write_json(self._path(trial.name), trial.model_dump(mode="json"))

    def trials(self) -> list[Trial]:
        """In the order of their first jobs."""
        known = [Trial(**read_json(path)) for path in self.folder.glob("*-*.json")]
        return sorted((trial for trial in known if trial.sweep == self.sweep), key=lambda trial: trial.jobs)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
