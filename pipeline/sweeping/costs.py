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

from pipeline.artifacts import CLASSIFIER, HISTORY, ClassifierDescription
from pipeline.console import progress, say
from pipeline.files import content_key, read_json, sha256, write_json
from pipeline.params import parse_params
from pipeline.sweeping import experiments
from pipeline.sweeping.identity import git
from pipeline.sweeping.records import Trial
from pipeline.tracking.environment import environment

STORE = Path(".cache/sweeps/costs")
# The code that decides what a SavedModel computes, as it was in a trial's commit, and the code that measures it here.
MAKING = ("pipeline/models", "pipeline/training", "pipeline/embedding", "stages/embed.py", "stages/finetune.py")
MEASURING = (Path("pipeline/sweeping/arithmetic.py"), Path("pipeline/sweeping/measuring.py"))
SECONDS = 1800  # after which a measurement has gone wrong


@dataclass(frozen=True)
class Cost:
    """Of one trial; None where it could not be measured.

    Attributes:
      parameters: weights, batch norm's statistics left out.
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


def measure(trials: list[Trial]) -> dict[str, Cost]:
    """The cost of each finished trial, by name. Networks that differ in nothing but their values share one measurement."""
    costs = {}
    with progress(trials, describe="measuring", unit="trial") as bar:
        for trial in bar:
            files = experiments.open_files(trial.commit)
            costs[trial.name] = Cost(**_network_cost(files, trial.commit), step_ms=_step_ms(files, trial.commit))
    return costs


def _key(description: ClassifierDescription, commit: str) -> str:
    """What a measurement is kept under: another network, code that makes or measures it, library or machine is another one.

    description: classifier.json of the trial of `commit`; what training makes different in it costs nothing.
    """
    kind = description.model_dump(exclude={"classes", "best_epoch"})
    made_by = [git("rev-parse", f"{commit}:{path}") for path in MAKING]
    measured_by = [sha256(path) for where in MEASURING for path in sorted(where.rglob("*.py") if where.is_dir() else [where])]
    here = environment()
    machine = [platform.node(), *(here[name] for name in ("processor", "cores", "python"))]
    libraries = [here["packages"].get(name) for name in ("tensorflow", "tf-keras", "tf-models-official", "numpy")]
    return content_key(kind, len(description.classes), made_by, measured_by, machine, libraries)


def _network_cost(files, commit: str) -> dict[str, float]:
    path = CLASSIFIER / "classifier.json"
    description = ClassifierDescription.from_text(files.read_text(str(path)), path)
    note = STORE / f"{_key(description, commit)}.json"
    if note.exists():
        return read_json(note)
    with TemporaryDirectory() as folder:
        files.get(str(CLASSIFIER), f"{folder}/classifier", recursive=True)
        command = [sys.executable, "-m", "pipeline.sweeping.measuring", f"{folder}/classifier"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            last = (error.stderr or "").strip().splitlines()[-1:] or [str(error)]
            say(f"could not measure {description.model}: {last[0][:200]}")
            return {}
    cost = json.loads(done.stdout.splitlines()[-1])
    write_json(note, cost)
    return cost


def _step_ms(files, commit: str) -> float:
    """Milliseconds of a training step, the median over the epochs."""
    import yaml

    history = pd.read_csv(io.StringIO(files.read_text(str(HISTORY))))
    params = parse_params(yaml.safe_load(git("show", f"{commit}:params.yaml")), f"params.yaml of {commit[:7]}")
    return float(1000 * params.finetune.batch_size / history["examples_per_second"].median())


def metrics_of(cost: Cost) -> dict[str, float]:
    """As MLflow has it: `cost/flops` and so on, what is known."""
    return {f"cost/{name}": value for name, value in asdict(cost).items() if value is not None}
