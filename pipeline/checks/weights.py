"""Whether the weights that the next run starts from can be had."""

from pipeline.check_results import CheckResult, refused, warning
from pipeline.console import UserError
from pipeline.models.family import ModelSettings, check_weights


def check_needed_weights(model: ModelSettings, needed: bool) -> CheckResult:
    """As `check_weights`; what is not `needed` in the next run, because its stage is up to date, is never a problem."""
    try:
        result = check_weights(model)
    except UserError as error:
        result = refused("weights", error)
    if result.status == "problem" and not needed:
        return warning("weights", f"{result.message} (not needed now: what they were for is made)", result.advice)
    return result
