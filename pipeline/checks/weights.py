"""Checks that the weights that the next run starts from are available."""

from pipeline.check_results import CheckResult, refused, warning
from pipeline.console import UserError
from pipeline.models.family import ModelSettings, check_weights


def check_needed_weights(model: ModelSettings, needed: bool) -> CheckResult:
    """As `check_weights`, but never a problem if the stage that needs them is up to date (`needed` is False)."""
    try:
        result = check_weights(model)
    except UserError as error:
        result = refused("weights", error)
    if result.status == "problem" and not needed:
        return warning("weights", f"{result.message} (not needed now: the stage that starts from them has run)", result.advice)
    return result
