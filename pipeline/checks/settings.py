"""Checks of settings that fit the schema but not each other, or not this machine, and that stages would reject late."""

from pipeline.check_results import CheckResult, ok, problem, warning
from pipeline.params import Params


def check_settings(params: Params, has_gpu: bool) -> list[CheckResult]:
    finetune, results = params.finetune, []
    if finetune.precision != "float32" and finetune.frozen:
        message = f"finetune.precision = {finetune.precision}, but a head on cached features trains in float32"
        results.append(problem("settings", message, "set finetune.precision=float32"))
    elif finetune.precision == "mixed_float16" and not has_gpu:
        message = "finetune.precision = mixed_float16 needs a GPU, and there is none"
        results.append(problem("settings", message, "set it to float32"))
    elif finetune.precision == "mixed_bfloat16" and not has_gpu:
        message = "finetune.precision = mixed_bfloat16 is slower than float32 on processors without bfloat16 arithmetic"
        results.append(warning("settings", message, "measure a short run of each, or set it to float32"))
    if finetune.frozen and params.model.weights == "random":
        message = f"model.weights = random with finetune.trainable = {finetune.trainable}: the frozen backbone is untrained"
        results.append(warning("settings", message, "set finetune=scratch to train all of it, or give pretrained weights"))
    return results or [ok("settings", f"{params.model.id}, finetune.trainable = {finetune.trainable}: fit together")]
