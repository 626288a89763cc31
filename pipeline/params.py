"""params.yaml as a whole: composed from `conf/` by Hydra through DVC, read here and validated before any work starts.

Unknown keys and bad values are rejected by name, value and allowed range. Only stages, commands and what describes whole runs
(tracking, sweeps, the doctor) import this module; everything else takes the sections that it needs.
"""

import difflib
from pathlib import Path
from typing import Annotated, Union

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from pipeline.console import UserError
from pipeline.models.family import FAMILIES, settings_class
from pipeline.settings import (
    Augment,
    Cluster,
    Data,
    Embed,
    Evaluate,
    Export,
    Finetune,
    Frames,
    Report,
    Section,
    Seed,
    Speed,
    Tracking,
)
from pipeline.video.sampling import Sampling

PARAMS_FILE = Path("params.yaml")
AnyModel = Annotated[Union[tuple(map(settings_class, FAMILIES))], Field(discriminator="family")]  # noqa: UP007


class Params(Section):
    seed: Seed
    data: Data
    frames: Frames
    model: AnyModel
    augment: Augment
    embed: Embed
    finetune: Finetune
    cluster: Cluster
    evaluate: Evaluate
    export: Export
    report: Report
    tracking: Tracking
    speed: Speed

    @model_validator(mode="after")
    def _fit_together(self) -> "Params":
        self.model.check_training(self.finetune)
        if self.frames.sampling == "first" and self.evaluate.views > 1:
            message = "frames.sampling = first takes one view of a clip, its first frames"
            raise UserError(message, advice="set evaluate.views=1")
        return self

    @property
    def sampling(self) -> Sampling:
        """How views are cut out of clips."""
        return Sampling(self.frames.count, self.frames.size, self.frames.sampling, self.model.short_clips)


def _known_keys(location: tuple, family: str | None) -> list[str]:
    """The keys the schema has at `location`, to suggest the one that was meant."""
    section: type[BaseModel] = Params
    for part in location:
        field = section.model_fields.get(part)
        kind = settings_class(family) if part == "model" and family in FAMILIES else getattr(field, "annotation", None)
        if not isinstance(kind, type) or not issubclass(kind, BaseModel):
            return []
        section = kind
    return list(section.model_fields)


def _describe(error: dict) -> tuple[str, str]:
    """What is wrong with one key, and what may have been meant; the second is empty where nothing can be said."""
    path = error["loc"]
    family = path[1] if path[:1] == ("model",) and len(path) > 1 else None
    path = (path[0], *path[2:]) if family in FAMILIES else path
    location = ".".join(str(part) for part in path)
    if error["type"] == "extra_forbidden":
        *parents, key = path
        known = _known_keys(tuple(parents), family)
        close = difflib.get_close_matches(str(key), known, n=1)
        hint = f"did you mean {'.'.join([*map(str, parents), close[0]])}?" if close else f"known here: {', '.join(known)}"
        return f"{location}: unknown key", hint
    if error["type"] == "missing":
        return f"{location}: missing", ""
    if error["type"].startswith("union_tag"):
        return f"model.family: not one of {', '.join(FAMILIES)}", ""
    if error["type"] == "value_error":
        return f"{location}: {error['ctx']['error']}", ""
    return f"{location} = {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}", ""


def parse_params(content: dict, source: str = "params.yaml") -> Params:
    """Validates a composed configuration; raises UserError naming each wrong key, its value and what is allowed."""
    try:
        return Params.model_validate(content)
    except UserError as error:
        raise UserError(f"{source}: {error.message}", advice=error.advice) from None
    except ValidationError as error:
        found = [_describe(item) for item in error.errors()]
        if len(found) == 1:
            raise UserError(f"{source}: {found[0][0]}", advice=found[0][1]) from None
        problems = "; ".join(f"{what} ({hint})" if hint else what for what, hint in found)
        raise UserError(f"{source}: {problems}") from None


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Reads and validates `params.yaml`; raises UserError when it is absent, not YAML, or does not fit the schema."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        advice = "run this at the root of the repository, or `dvc exp run` to compose it"
        raise UserError(f"{path}: not found", advice=advice) from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected sections such as data: and model:, found {type(content).__name__}")
    return parse_params(content, str(path))
