"""Values of params.yaml that fit the schema but not each other, or not this machine, and that stages would notice late."""

from collections.abc import Iterator

from pipeline.check_results import CheckResult, ok, problem, warning
from pipeline.params import Params


def check_settings(params: Params, has_gpu: bool) -> Iterator[CheckResult]:
    """What `embed` and `finetune` would refuse once the clips are fetched and decoded."""
    found = list(_results(params, has_gpu))
    yield from found or [ok("settings", f"{params.model.id}, finetune.trainable = {params.finetune.trainable}: fit together")]


def _results(params: Params, has_gpu: bool) -> Iterator[CheckResult]:
    settings = params.finetune
    if settings.precision != "float32" and settings.trainable == "head":
        message = f"finetune.precision = {settings.precision}, but a head on cached features trains in float32"
        yield problem("settings", message, "set finetune.precision=float32")
    elif settings.precision == "mixed_float16" and not has_gpu:
        yield problem("settings", "finetune.precision = mixed_float16 needs a GPU, and there is none", "set it to float32")
    elif settings.precision == "mixed_bfloat16" and not has_gpu:
        message = "finetune.precision = mixed_bfloat16 is slower than float32 on processors without bfloat16 arithmetic"
        yield warning("settings", message, "measure a short run of each, or set it to float32")
    if settings.trainable == "head" and params.model.weights == "random":
        message = "model.weights = random with finetune.trainable = head: the frozen backbone knows nothing"
        yield warning("settings", message, "set finetune=scratch to train all of it, or give pretrained weights")
