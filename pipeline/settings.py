"""The sections of params.yaml that are the same for every model: their keys, types and allowed values.

A function takes the section, or the values, that it needs; only stages and commands see all of them (`pipeline.params`). What
each key means, its unit and the reason for its default stand in `conf/`.
"""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
UnitInterval = Annotated[float, Field(ge=0, le=1)]
OFFICIAL_FOLDS = 3  # of UCF-101
EngineName = Literal["auto", "tensorflow", "openvino"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A part of params.yaml: closed (no unknown keys), strict about types, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Split(Section):
    scheme: Literal["auto", "official", "grouped", "folds", "random", "given"]
    folds: Annotated[int, Field(ge=2)]
    fold: PositiveInt
    test: Fraction
    validation: Fraction
    train_per_class: PositiveInt | None
    test_per_class: PositiveInt | None
    duplicates: Literal["group", "warn", "ignore"]

    @model_validator(mode="after")
    def _fold_exists(self) -> "Split":
        if self.scheme == "folds" and self.fold > self.folds:
            raise ValueError(f"fold = {self.fold}, but folds = {self.folds}; give data.split.fold a value from 1 to {self.folds}")
        if self.scheme != "folds" and self.fold > OFFICIAL_FOLDS:
            advice = "choose one, or data.split.scheme=folds, which makes data.split.folds of them"
            raise ValueError(f"fold = {self.fold}, but UCF-101 has {OFFICIAL_FOLDS} official folds; {advice}")
        return self


class Background(Section):
    """Clips of the unlabelled time of recordings: a class `label` of clips of `seconds`, at most `per_class` of them."""

    label: Annotated[str, Field(min_length=1)]
    seconds: Annotated[float, Field(ge=0.1)]
    per_class: PositiveInt | None


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
    background: Background | None
    split: Split

    @model_validator(mode="after")
    def _one_source(self) -> "Data":
        if (self.archive is None) == (self.folder is None):
            raise ValueError("give one of data.archive (a zip: https URL or local path) and data.folder, not both or neither")
        if self.num_classes is not None and self.classes is not None:
            raise ValueError("give data.num_classes (the first N by name) or data.classes (names), not both")
        if self.listing is not None and self.folder is None:
            raise ValueError("data.listing names files relative to data.folder, so it needs data.folder")
        if self.background is not None and self.folder is None:
            raise ValueError("data.background needs a listing of segments of the videos in data.folder")
        return self


class Frames(Section):
    fps: Annotated[float, Field(gt=0, le=120)]
    size: Annotated[int, Field(ge=32, le=1024)]
    count: PositiveInt
    sampling: Literal["uniform", "first"]
    quality: Annotated[int, Field(ge=1, le=100)]
    shards: PositiveInt
    on_error: Literal["keep", "skip", "fail"]
    image_rate: Annotated[float, Field(gt=0, le=1000)] | None


class Augment(Section):
    crop: Annotated[float, Field(gt=0, le=1)]
    flip: bool
    brightness: UnitInterval
    contrast: UnitInterval
    saturation: UnitInterval
    jitter: bool


class Embed(Section):
    views: PositiveInt


class Unknown(Section):
    """The share `level` that the threshold of `unknown` is chosen for, on validation.

    coverage: of the clips of known classes, the share that is given a class. precision: of the clips that are given a class, the
    share that is right.
    """

    by: Literal["coverage", "precision"]
    level: Fraction


class Finetune(Section):
    trainable: Literal["probe", "head", "last_blocks", "full"]
    start: Literal["new", "probe"]
    blocks: PositiveInt
    reuse_projection: bool
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    backbone_rate: Annotated[float, Field(gt=0, le=1)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    warmup: UnitInterval
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    balance: Literal["none", "sample", "weight"]
    mixup: Annotated[float, Field(ge=0, le=10)]
    dropout: Annotated[float, Field(ge=0, lt=1)] | None
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)]
    batch_norm: Literal["auto", "frozen", "trained"]
    batch_norm_momentum: Fraction
    rezero: UnitInterval
    patience: PositiveInt | None
    calibrate: bool
    unknown: Unknown
    distribute: Literal["none", "mirrored", "multi_worker"]
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"]

    @model_validator(mode="after")
    def _check_mixup(self) -> "Finetune":
        if self.mixup and self.trainable == "probe":
            raise ValueError(f"finetune.mixup = {self.mixup:g} mixes the examples of a batch, and a probe has none: set it to 0")
        if self.mixup and self.distribute != "none":
            raise ValueError(f"finetune.mixup = {self.mixup:g} mixes the examples of a batch, which replicas divide: set it to 0")
        return self

    @property
    def frozen(self) -> bool:
        """Whether the backbone is frozen, so that its features are cached."""
        return self.trainable in ("probe", "head")

    @property
    def needs_features(self) -> bool:
        """Whether features of the frozen backbone are needed: to train on them, or for a probe to start from."""
        return self.frozen or self.start == "probe"


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


class Speed(Section):
    """What decides how fast a run is and never what it gives: no stage depends on it."""

    download_connections: PositiveInt
    download_retries: Annotated[int, Field(ge=0)]
    download_timeout: Annotated[float, Field(gt=0)]
    decode_workers: PositiveInt | None
    engine: EngineName
    inference_batch: PositiveInt
    feature_cache: Annotated[float, Field(gt=0)]
    checkpoint_minutes: Annotated[float, Field(gt=0)]


class Evaluate(Section):
    views: PositiveInt
    bootstrap: Annotated[int, Field(ge=100)]
    confidence: Fraction
    bins: PositiveInt
    baseline_clips: Annotated[int, Field(ge=0)]
    occlusion_clips: Annotated[int, Field(ge=0)]


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
