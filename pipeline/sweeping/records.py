"""What is known of each trial, in files: written by the process that runs it, read by the one that shows and compares them.

Files and not memory, because launchers run trials in other processes and on other machines, and any of them may be killed.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.files import read_json, write_json, write_text


@dataclass
class Trial:
    """One trial.

    Attributes:
      name: of its DVC experiment.
      overrides: what it was composed with, key to value.
      status: running, finished or failed.
      origin: computed by this sweep, or restored from what DVC had.
      stage: where it is while it runs.
      error: why it failed, one line.
      seconds: that its experiment took when it was last run.
      commit: of the finished experiment.
      evaluated_run_id: the run that evaluate noted in results/run.json.
      run_id: its MLflow run under the sweep's; the same where this sweep computed it.
      model_run_id: the run that trained and registered its classifier; None where that is on another store.
      metrics: content of its metrics.json.
      objective: the score it is compared by.
      found: its experiment was there already when the sweep was started.
    """

    name: str
    number: int
    overrides: dict[str, str]
    status: Literal["running", "finished", "failed"] = "running"
    origin: Literal["computed", "restored"] | None = None
    stage: str = ""
    error: str | None = None
    seconds: float | None = None
    commit: str | None = None
    evaluated_run_id: str | None = None
    run_id: str | None = None
    model_run_id: str | None = None
    metrics: dict[str, Any] | None = field(default=None, repr=False)
    objective: float | None = None
    found: bool = False


class Records:
    """The records in a sweep's folder: `<trial>.json`, `<trial>.log`, and `jobs/<number>` naming the trial of each job."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.jobs = self.folder / "jobs"

    def clear_jobs(self) -> None:
        """Forgets which trials the last start of this sweep had; what they came to is kept."""
        self.jobs.mkdir(parents=True, exist_ok=True)
        for path in self.jobs.iterdir():
            path.unlink()

    def write(self, trial: Trial) -> None:
        write_json(self.folder / f"{trial.name}.json", asdict(trial))
        write_text(self.jobs / f"{trial.number:05d}", trial.name)

    def find(self, name: str) -> Trial | None:
        path = self.folder / f"{name}.json"
        return Trial(**read_json(path)) if path.exists() else None

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def jobs_done(self) -> int:
        """Jobs whose trial has ended; several jobs may be the same trial."""
        return sum(self._status(path) in ("finished", "failed") for path in self._numbers())

    def trials(self) -> list[Trial]:
        """The trials of this start of the sweep, in the order of their first job."""
        names = dict.fromkeys(path.read_text(encoding="utf-8") for path in self._numbers())
        return [trial for name in names if (trial := self.find(name)) is not None]

    def _numbers(self) -> list[Path]:
        return sorted(path for path in self.jobs.glob("[0-9]*") if path.name.isdigit())

    def _status(self, job: Path) -> str:
        trial = self.find(job.read_text(encoding="utf-8"))
        return "running" if trial is None else trial.status
