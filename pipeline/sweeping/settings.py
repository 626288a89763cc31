"""What a sweep is: its section of the configuration, what varies in it, and how many trials it has.

Invariants: trials are compared on validation clips. There is no way to name a test score as the objective.
"""

import math
from typing import Annotated, Any, Literal, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError

from pipeline.console import UserError
from pipeline.settings import Section

LARGER_IS_BETTER = {"top1": True, "top5": True, "macro_f1": True, "log_loss": False, "ece": False}
OURS = ("sweep", "hydra")  # parts of the configuration that are not parameters of the pipeline
NAME_LENGTH = 60


class SweepSettings(Section):
    """The section `sweep`; its keys are explained in conf/sweep/grid.yaml."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=NAME_LENGTH)] | None
    objective: Literal[tuple(LARGER_IS_BETTER)]


class Plan(NamedTuple):
    """The whole sweep as the command line states it.

    Attributes:
      name: of its folders and MLflow run.
      objective: a score of the validation clips.
      overrides: what is the same in all trials and what varies, as given: key to value.
      swept: the keys that vary, in order.
      trials: how many; None where only the sweeper knows.
      sweeper: its settings, for the record.
    """

    name: str
    objective: str
    overrides: dict[str, str]
    swept: list[str]
    trials: int | None
    sweeper: dict[str, Any]


def parse_settings(config: DictConfig) -> SweepSettings:
    """The section `sweep` of a composed configuration; raises UserError naming what does not fit."""
    try:
        return SweepSettings.model_validate(OmegaConf.to_container(config.sweep, resolve=True))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["sweep", *map(str, first["loc"][:1])])
        raise UserError(f"{key} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def pipeline_content(config: DictConfig) -> dict[str, Any]:
    """What of a composed configuration goes into params.yaml, as plain values."""
    content = OmegaConf.to_container(OmegaConf.masked_copy(config, [key for key in config if key not in OURS]), resolve=True)
    return {str(key): value for key, value in content.items()}


def pipeline_overrides(overrides: list[str]) -> dict[str, str]:
    """Key to value of a job's overrides, less those of the sweep itself, as `dvc exp run -S` takes them.

    Optuna's sweeper writes a null given on the command line as None.
    """
    pairs = (text.lstrip("+").split("=", 1) for text in overrides)
    mine = {key: value for key, value in pairs if key.split(".")[0].split("/")[0] not in OURS}
    return {key: "null" if value == "None" else value for key, value in mine.items()}


def read_plan(config: DictConfig) -> Plan:
    """The plan of a composed multirun configuration.

    Raises:
      UserError: a sweep over the sweep's own keys, a sweeper that maximises, a number of jobs that is none.
    """
    settings = parse_settings(config)
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    parsed = OverridesParser.create().parse_overrides(given + list(config.hydra.overrides.task))
    latest: dict[str, Override] = {one.get_key_element().lstrip("+~"): one for one in parsed}
    swept = [key for key, one in latest.items() if one.is_sweep_override()]
    for key in swept:
        if key.split(".")[0] in OURS:
            raise UserError(f"{key} cannot be swept", advice="start one sweep for each")
    if sweeper.get("direction", "minimize") != "minimize":
        raise UserError("hydra.sweeper.direction must be minimize: a trial returns the negative of what should be large")
    if isinstance(sweeper.get("n_jobs"), int) and sweeper["n_jobs"] < 1:
        raise UserError("hydra.launcher.n_jobs must be a number of jobs here: the sampler proposes as many trials at a time")
    overrides = {key: one.input_line.split("=", 1)[1] for key, one in latest.items() if key.split(".")[0] not in OURS}
    trials = sweeper.get("n_trials")
    if "n_trials" not in sweeper:
        discrete = all(latest[key].is_discrete_sweep() for key in swept)
        trials = math.prod(sum(1 for _ in latest[key].sweep_iterator()) for key in swept) if discrete else None
    name = settings.name or "-".join(key.split(".")[-1].split("/")[-1] for key in swept)[:NAME_LENGTH].strip("-") or "single"
    return Plan(name, settings.objective, overrides, swept, trials, sweeper)


def to_minimise(objective: str, value: float) -> float:
    """The objective as a sweeper gets it: the smaller the better."""
    return -value if LARGER_IS_BETTER[objective] else value
