"""What a sweep is: its section of the configuration, the parameters that vary, and the number of trials.

Invariants: trials are compared on validation clips. There is no way to name a test score as the objective.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError

from pipeline.console import UserError
from pipeline.settings import Section

LARGER_IS_BETTER = {"top1": True, "top5": True, "macro_f1": True, "log_loss": False, "ece": False}
NOT_PARAMETERS = ("sweep", "hydra")  # sections of the configuration that are not of the pipeline
NAME_LENGTH = 60
GROUPS = Path(__file__).resolve().parents[2] / "conf"
SWEEP_VARIABLE = "MOVINET_SWEEP"  # holds a Sweep for the processes of launchers

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=NAME_LENGTH)]


class SweepSettings(Section):
    """The section `sweep`; its keys are explained in conf/sweep/grid.yaml."""

    name: Name | None
    objective: Literal[tuple(LARGER_IS_BETTER)]
    repeats: str | None


class Plan(NamedTuple):
    """The whole sweep as the command line states it.

    Attributes:
      name: of its folders and MLflow run.
      objective: a score of the validation clips.
      overrides: fixed and varying ones, as given: key to value.
      swept: the keys that vary, in order.
      trials: their number; None where only the sweeper knows.
      sweeper: its settings, for the record.
      repeats: the swept key whose values repeat a run instead of competing; None if there is none.
    """

    name: str
    objective: str
    overrides: dict[str, str]
    swept: list[str]
    trials: int | None
    sweeper: dict[str, Any]
    repeats: str | None = None


class Sweep(Section):
    """What the processes that run trials need to know of their sweep.

    Attributes:
      folder: of records, logs and locks; absolute, so that it is the same on other machines.
      process: identity (see pipeline.processes) of the process that started the sweep.
      run_id: its MLflow run.
    """

    name: str
    objective: str
    swept: list[str]
    folder: str
    process: str
    run_id: str

    @classmethod
    def of_environment(cls) -> Self:
        """Raises UserError outside a sweep."""
        if SWEEP_VARIABLE not in os.environ:
            raise UserError("trials are run by `python -m commands.sweep`", advice="leave hydra.mode as it is")
        return cls.model_validate_json(os.environ[SWEEP_VARIABLE])

    @property
    def path(self) -> Path:
        return Path(self.folder)


def pipeline_content(config: DictConfig) -> dict[str, Any]:
    """The part of a composed configuration that goes into params.yaml, as plain values."""
    sections = [key for key in config if key not in NOT_PARAMETERS]
    content = OmegaConf.to_container(OmegaConf.masked_copy(config, sections), resolve=True)
    return {str(key): value for key, value in content.items()}


def pipeline_overrides(overrides: list[str]) -> dict[str, str]:
    """Key to value of a job's overrides as `dvc exp run -S` takes them, without those of the sweep itself.

    Optuna's sweeper writes a null given on the command line as None.
    """
    pairs = dict(text.lstrip("+").split("=", 1) for text in overrides)
    return {key: "null" if value == "None" else value for key, value in pairs.items() if _is_parameter(key)}


def _is_parameter(key: str) -> bool:
    return key.split(".")[0].split("/")[0] not in NOT_PARAMETERS


def read_plan(config: DictConfig) -> Plan:
    """The plan of a composed multirun configuration.

    Raises:
      UserError: a key of the sweep is bad or swept itself, or the sweeper maximises or has no number of jobs.
    """
    settings = _parse_settings(config)
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    parsed = OverridesParser.create().parse_overrides(given + list(config.hydra.overrides.task))
    latest: dict[str, Override] = {one.get_key_element().lstrip("+~"): one for one in parsed}
    swept = [key for key, one in latest.items() if one.is_sweep_override()]
    for key in swept:
        if not _is_parameter(key):
            raise UserError(f"{key} cannot be swept", advice="start one sweep for each")
    if sweeper.get("direction", "minimize") != "minimize":
        raise UserError("hydra.sweeper.direction must be minimize: a trial returns the negative of what should be large")
    if isinstance(sweeper.get("n_jobs"), int) and sweeper["n_jobs"] < 1:
        raise UserError("hydra.launcher.n_jobs must be a number of jobs here: the sampler proposes as many trials at a time")
    if sweeper.get("n_trials", 1) < 1:
        raise UserError(f"hydra.sweeper.n_trials = {sweeper['n_trials']}: must be 1 or more")
    n_jobs = config.hydra.launcher.get("n_jobs", 1)
    if n_jobs == 0 or n_jobs < -1:
        raise UserError(f"hydra.launcher.n_jobs = {n_jobs}: must be 1 or more, or -1 for one per core")
    overrides = {key: one.input_line.split("=", 1)[1] for key, one in latest.items() if _is_parameter(key)}
    trials = sweeper.get("n_trials")
    if "n_trials" not in sweeper and all(latest[key].is_discrete_sweep() for key in swept):
        trials = math.prod(sum(1 for _ in latest[key].sweep_iterator()) for key in swept)
    name = settings.name or "-".join(key.split(".")[-1].split("/")[-1] for key in swept)[:NAME_LENGTH].strip("-") or "single"
    if settings.repeats is not None and settings.repeats not in swept:
        advice = f"swept: {', '.join(swept) or 'nothing'}; give it several values, or set sweep.repeats=null"
        raise UserError(f"sweep.repeats = {settings.repeats}: that key is not swept", advice=advice)
    if "data.split.fold" in swept and "data.split.scheme" not in swept and config.data.split.scheme not in ("official", "folds"):
        message = f"data.split.scheme = {config.data.split.scheme} has no folds, so that data.split.fold cannot be swept"
        raise UserError(message, advice="set data.split.scheme=folds, and their number as data.split.folds")
    return Plan(name, settings.objective, overrides, swept, trials, sweeper, settings.repeats)


def check_values(plan: Plan, compose: Callable[[list[str]], DictConfig]) -> None:
    """Composes a trial with each group that is swept, and with a value of each other swept key.

    compose: a configuration from overrides. It raises what Hydra raises for a group or key that does not exist.
    """
    fixed = [f"{key}={value}" for key, value in plan.overrides.items() if key not in plan.swept]
    for key in plan.swept:
        (override,) = OverridesParser.create().parse_overrides([f"{key}={plan.overrides[key]}"])
        values = list(override.sweep_string_iterator()) if override.is_discrete_sweep() else [override.value().start]
        is_group = GROUPS.joinpath(*key.split("/")).is_dir()
        for value in values if is_group else values[:1]:
            compose([*fixed, f"{key}={value}"])


def _parse_settings(config: DictConfig) -> SweepSettings:
    try:
        return SweepSettings.model_validate(OmegaConf.to_container(config.sweep, resolve=True))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["sweep", *map(str, first["loc"][:1])])
        raise UserError(f"{key} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def to_minimise(objective: str, value: float) -> float:
    """The objective as a sweeper receives it: the smaller the better."""
    return -value if LARGER_IS_BETTER[objective] else value
