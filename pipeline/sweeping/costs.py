"""What each trial's classifier costs: measured after the trials have ended, one after another, each kind of network once."""

import io
import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import yaml

from pipeline.artifacts import CLASSIFIER, CODE, HISTORY, ClassifierDescription
from pipeline.console import progress, say
from pipeline.files import content_key, read_json, sha256, write_json
from pipeline.git import run_git
from pipeline.params import parse_params
from pipeline.sweeping import experiments
from pipeline.sweeping.records import Trial
from pipeline.tracking.environment import environment

CACHE = Path(".cache/sweeps/costs")
MADE_BY = ("embed", "finetune")  # stages whose code decides what a SavedModel computes
MEASURED_BY = (Path("pipeline/sweeping/arithmetic.py"), Path("pipeline/sweeping/measuring.py"))
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


def measure_trials(trials: list[Trial]) -> dict[str, Cost]:
    """The cost of each finished trial, by name. Networks that differ in nothing but their values share one measurement."""
    costs = {}
    with progress(trials, describe="measuring", unit="trial") as bar:
        for trial in bar:
            files = experiments.open_files(trial.commit)
            costs[trial.name] = Cost(**_network_cost(files, trial.commit), step_ms=_step_ms(files, trial.commit))
    return costs


def _network_cost(files, commit: str) -> dict[str, float]:
    path = CLASSIFIER / "classifier.json"
    description = ClassifierDescription.from_text(files.read_text(str(path)), path)
    cached = CACHE / f"{_key(description, commit)}.json"
    if cached.exists():
        return read_json(cached)
    with TemporaryDirectory() as folder:
        files.get(str(CLASSIFIER), f"{folder}/classifier", recursive=True)
        command = [sys.executable, "-m", "pipeline.sweeping.measuring", f"{folder}/classifier"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            last = (error.stderr or "").strip().splitlines()[-1:] or [str(error)]
            say(f"could not measure {description.model}: {last[0][:200]}")
            return {}
    cost = json.loads(done.stdout.splitlines()[-1])
    write_json(cached, cost)
    return cost


def _key(description: ClassifierDescription, commit: str) -> str:
    """Equal where a measurement may be shared: one network, code that makes and measures it, libraries and machine.

    description: of the trial of `commit`. The code that made the network is what DVC recorded there as dependencies.
    """
    kind = description.model_dump(exclude={"classes", "best_epoch"})
    stages = yaml.safe_load(run_git("show", f"{commit}:dvc.lock"))["stages"]
    deps = [dep for stage in MADE_BY for dep in stages[stage]["deps"] if dep["path"].startswith((*CODE, "numeric.lock"))]
    here = environment()
    machine = [platform.node(), here["processor"], here["cores"], here["python"]]
    libraries = [here["packages"].get(name) for name in ("tensorflow", "tf-keras", "tf-models-official", "numpy")]
    return content_key(kind, len(description.classes), deps, [sha256(path) for path in MEASURED_BY], machine, libraries)


def _step_ms(files, commit: str) -> float:
    """Milliseconds of a training step, the median over the epochs."""
    history = pd.read_csv(io.StringIO(files.read_text(str(HISTORY))))
    params = parse_params(yaml.safe_load(run_git("show", f"{commit}:params.yaml")), f"params.yaml of {commit[:7]}")
    return float(1000 * params.finetune.batch_size / history["examples_per_second"].median())
