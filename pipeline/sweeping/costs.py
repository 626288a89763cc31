"""What each trial's classifier costs: measured after the trials have ended, one after another, each kind of network once."""

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from pipeline.artifacts import CLASSIFIER, CODE, ClassifierDescription
from pipeline.console import progress, say
from pipeline.files import content_key, read_json, repository_root, write_json
from pipeline.git import run_git
from pipeline.revisions import open_files
from pipeline.sweeping.records import Trial
from pipeline.tracking.environment import environment

TIMEOUT = 1800  # seconds after which a measurement has gone wrong


@dataclass(frozen=True)
class Cost:
    """Of one trial; None where it could not be measured.

    Attributes:
      parameters: weights, without batch norm's statistics.
      flops: multiplications and additions of one clip, all its views.
      latency_ms: of one clip on one CPU thread.
      peak_mib: memory of a process that classifies one clip, TensorFlow included.
      step_ms: of training, as the trial ran: with whatever else the machine did.
    """

    parameters: int | None = None
    flops: int | None = None
    latency_ms: float | None = None
    peak_mib: float | None = None
    step_ms: float | None = None

    def metrics(self) -> dict[str, float]:
        """For MLflow: `cost/flops` and so on, what is known."""
        return {f"cost/{name}": value for name, value in asdict(self).items() if value is not None}


def measure_trials(trials: list[Trial], folder: Path) -> dict[str, Cost]:
    """The cost of each finished trial, by name. Networks that differ in nothing but their values share one measurement.

    folder: where `keep_network` kept those of trials that are no experiments.
    """
    measured: dict[str, Cost] = {}
    for trial in progress(sorted(trials, key=lambda one: one.commit is None), describe="measuring", unit="trial"):
        if trial.network not in measured:
            measured[trial.network] = _network_cost(trial, folder)
    return {trial.name: replace(measured[trial.network], step_ms=trial.step_ms) for trial in trials}


def _network_cost(trial: Trial, folder: Path) -> Cost:
    cached, kept = _cached(trial.network), _kept(trial.network, folder)
    if cached.exists():
        return Cost(**read_json(cached))
    if not kept.exists() and trial.commit is None:
        return Cost()  # of an earlier start, which could not measure it
    with TemporaryDirectory() as scratch:
        classifier = kept if kept.exists() else Path(scratch) / "classifier"
        if not kept.exists():
            open_files(trial.commit).get(str(CLASSIFIER), str(classifier), recursive=True)
        command = [sys.executable, "-m", "pipeline.sweeping.measuring", str(classifier)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            last = (error.stderr or "").strip().splitlines()[-1:] or [str(error)]
            say(f"could not measure the network of {trial.name}: {last[0][:200]}")
            return Cost()
    cost = json.loads(done.stdout.splitlines()[-1])
    write_json(cached, cost)
    return Cost(**cost)


def keep_network(classifier: Path, network: str, folder: Path) -> None:
    """Moves a classifier to `folder` if no network of its kind has been measured or kept."""
    if not _cached(network).exists() and not _kept(network, folder).exists():
        shutil.move(classifier, _kept(network, folder))


def network_key(description: ClassifierDescription) -> str:
    """Equal where a measurement may be shared: one network, the code that makes and measures it, libraries and machine."""
    kind = description.model_dump(exclude={"classes", "best_epoch", "decision", "interpolation"})
    return content_key(kind, len(description.classes), *_made_here())


@cache
def _made_here() -> tuple:
    here = environment()
    code = [run_git("ls-files", "--stage", "--", *CODE), run_git("diff", "--", *CODE)]
    libraries = [here["packages"].get(name) for name in ("tensorflow", "tf-keras", "tf-models-official", "numpy")]
    return content_key(code), platform.node(), here["processor"], here["cores"], here["python"], libraries


def step_ms(history: pd.DataFrame, batch_size: int) -> float:
    """Milliseconds of a training step, the median over the epochs."""
    return float(1000 * batch_size / history["examples_per_second"].median())


def _cached(network: str) -> Path:
    return repository_root() / ".cache" / "sweeps" / "costs" / f"{network}.json"


def _kept(network: str, folder: Path) -> Path:
    return folder / f"network-{network}"
