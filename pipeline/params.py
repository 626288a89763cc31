"""The typed schema of `params.yaml`.

`conf/` composes `params.yaml` (Hydra, through DVC); the stages read the file through this module and never import Hydra.
Unknown keys and bad values are rejected by name, value and allowed range, before any work starts.
What each key means, its unit and the reason for its default stand in `conf/`.
"""

import difflib
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.console import UserError

PARAMS_FILE = Path("params.yaml")

BASE_IDS = ("a0", "a1", "a2", "a3", "a4", "a5")
MODEL_IDS = (*BASE_IDS, *(f"{name}_stream" for name in BASE_IDS), "a0_stream_relu6")

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
UnitInterval = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of params.yaml: closed (no unknown keys), strict about types, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Split(Section):
    scheme: Literal["auto", "official", "grouped", "random", "given"]
    fold: Annotated[int, Field(ge=1, le=3)]
    test: Fraction
    validation: Fraction
    train_per_class: PositiveInt | None
    test_per_class: PositiveInt | None


class Data(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    archive: str | None
    folder: str | None
    listing: str | list[str] | None
    class_names: str | None
    watch: str
    num_classes: PositiveInt | None
    classes: list[str] | None
    flip: bool | dict[str, str]
    workers: PositiveInt
    retries: Annotated[int, Field(ge=0)]
    timeout: Annotated[float, Field(gt=0)]
    split: Split

    @model_validator(mode="after")
    def _one_source(self) -> "Data":
        if (self.archive is None) == (self.folder is None):
            raise ValueError("give one of data.archive (a zip: https URL or local path) and data.folder, not both or neither")
        if self.num_classes is not None and self.classes is not None:
            raise ValueError("give data.num_classes (the first N by name) or data.classes (names), not both")
        if self.listing is not None and self.folder is None:
            raise ValueError("data.listing names files relative to data.folder, so it needs data.folder")
        return self


class Frames(Section):
    fps: Annotated[float, Field(gt=0, le=120)]
    size: Annotated[int, Field(ge=32, le=1024)]
    count: PositiveInt
    quality: Annotated[int, Field(ge=1, le=100)]
    shards: PositiveInt
    on_error: Literal["keep", "skip", "fail"]
    image_rate: Annotated[float, Field(gt=0, le=1000)] | None
    workers: PositiveInt | None


class Model(Section):
    id: Literal[MODEL_IDS]
    fps: Annotated[float, Field(gt=0)]
    resolution: PositiveInt
    weights: str
    convolutions: Literal["auto", "fast", "stock"]


class Augment(Section):
    crop: Annotated[float, Field(gt=0, le=1)]
    flip: bool
    brightness: UnitInterval
    contrast: UnitInterval
    saturation: UnitInterval
    jitter: bool


class Embed(Section):
    views: PositiveInt
    batch_size: PositiveInt


class Finetune(Section):
    trainable: Literal["head", "last_blocks", "full"]
    blocks: PositiveInt
    reuse_projection: bool
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    warmup: UnitInterval
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)] | None
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)]
    batch_norm: Literal["auto", "frozen", "trained"]
    batch_norm_momentum: Fraction
    rezero: UnitInterval
    patience: PositiveInt | None
    distribute: Literal["none", "mirrored", "multi_worker"]
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"]
    checkpoint_minutes: Annotated[float, Field(gt=0)]


class Cluster(Section):
    engine: Literal["local", "dask"]
    address: str | None
    workers: PositiveInt | None

    @model_validator(mode="after")
    def _one_engine(self) -> "Cluster":
        if self.engine == "local" and (self.address is not None or self.workers is not None):
            raise ValueError("cluster.address and cluster.workers are for cluster.engine = dask; choose it (-S cluster=dask)")
        if self.address is not None and self.workers is not None:
            raise ValueError("the scheduler at cluster.address has its own workers; leave cluster.workers null")
        return self


class Evaluate(Section):
    views: PositiveInt
    batch_size: PositiveInt
    bootstrap: Annotated[int, Field(ge=100)]
    confidence: Fraction
    bins: PositiveInt


class Report(Section):
    confused_pairs: PositiveInt


ExportFormat = Literal["float32", "float16", "dynamic", "int8"]
EXPORT_FORMATS: tuple[str, ...] = get_args(ExportFormat)


class Export(Section):
    formats: list[ExportFormat]
    calibration_clips: PositiveInt
    max_accuracy_drop: Annotated[float, Field(ge=0, le=1)]


class Tracking(Section):
    experiment: str | None
    register_model: bool
    system_metrics: bool


class Params(Section):
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    data: Data
    frames: Frames
    model: Model
    augment: Augment
    embed: Embed
    finetune: Finetune
    cluster: Cluster
    evaluate: Evaluate
    export: Export
    report: Report
    tracking: Tracking


def _known_keys(location: tuple) -> list[str]:
    """The keys the schema has at `location`, to suggest the one that was meant."""
    model: type[BaseModel] = Params
    for part in location:
        field = model.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)


def _describe(error: dict) -> tuple[str, str]:
    """What is wrong with one key, and what may have been meant; the second is empty where nothing can be said."""
    location = ".".join(str(part) for part in error["loc"]) or "(whole file)"
    if error["type"] == "extra_forbidden":
        *parents, key = error["loc"]
        known = _known_keys(tuple(parents))
        close = difflib.get_close_matches(str(key), known, n=1)
        hint = f"did you mean {'.'.join([*map(str, parents), close[0]])}?" if close else f"known here: {', '.join(known)}"
        return f"{location}: unknown key", hint
    if error["type"] == "missing":
        return f"{location}: missing", ""
    if error["type"] == "value_error":
        return f"{location}: {error['ctx']['error']}", ""
    return f"{location} = {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}", ""


def parse_params(content: dict, source: str = "params.yaml") -> Params:
    """Validates a composed configuration; raises UserError naming each wrong key, its value and what is allowed."""
    try:
        return Params.model_validate(content)
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
