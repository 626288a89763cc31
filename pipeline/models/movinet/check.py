"""Checks that `model.weights` exists and fits `model.id`, without TensorFlow and without fetching it.

Sources are searched in the same order as in `network/weights/finding.py`, which fetches.
"""

from pathlib import Path

import requests

from pipeline.check_results import CheckResult, listed, ok, problem, warning
from pipeline.console import UserError, without_credentials
from pipeline.files import repository_root
from pipeline.models.movinet.network.variants import PUBLISHED_ROOT, Variant
from pipeline.models.movinet.network.weights.checkpoint_files import read_checkpoint
from pipeline.models.movinet.network.weights.layouts import (
    LAYOUTS,
    are_published_values,
    contents_of,
    find_mismatch,
    find_other_types,
    layout_of,
)
from pipeline.models.movinet.network.weights.published import cached_file, cached_kaggle_folder, is_published_file, is_url
from pipeline.models.movinet.settings import Settings

KAGGLE = "https://www.kaggle.com"
TIMEOUT = 10  # seconds without data
ADVICE = "set model.weights to an existing tarball, folder or checkpoint prefix, or to random"


def _answers(url: str) -> str | None:
    """Requests `url` without reading its content. Returns None if the server would send it, else the reason."""
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT) as response:
            return None if response.status_code == 200 else f"the server answers {response.status_code} {response.reason}"
    except requests.RequestException as error:
        return f"no answer ({type(error).__name__})"


def _fits(path: Path, model: Settings) -> CheckResult:
    """Compares the variables of the checkpoint at `path` with those of `model.id`."""
    try:
        checkpoint = read_checkpoint(path)
    except UserError as error:
        return problem("weights", f"model.weights: {error.message}", error.advice)
    contents = contents_of(checkpoint.index.shapes, checkpoint.names)
    found = layout_of(contents)
    difference = find_mismatch(found, LAYOUTS[model.id])
    if difference:
        message, advice = difference
        return problem("weights", f"model.weights: {checkpoint.where}: {message}", advice)
    other = find_other_types(contents, checkpoint.index)
    if other:
        return problem("weights", f"model.weights: {checkpoint.where}: {listed(other)}: not float32", "give float32 weights")
    kind = "the SavedModel holds" if contents.saved_model else "holds"
    remarks = ", the published values" if are_published_values(contents, checkpoint.index) else ""
    if is_published_file(path) is False:
        remarks += f" (the file is not the published {path.name}: its size or SHA-256 is another)"
    return ok("weights", f"{checkpoint.where}: {kind} all {found.variables} variables of {model.id}, in name and shape{remarks}")


def _published(variant: Variant, model: Settings) -> CheckResult:
    if variant.checkpoint is None:
        return problem("weights", f"no weights of {variant.id} are published", ADVICE)
    url = f"{PUBLISHED_ROOT}/{variant.checkpoint}"
    cached = cached_file(url) if cached_file(url).is_file() else cached_kaggle_folder(variant.kaggle)
    if cached is not None:
        return _fits(cached, model)
    failure = _answers(url)
    if failure is None:
        return ok("weights", f"{url} answers")
    other = _answers(KAGGLE)
    if other is None:
        message = f"{url}: {failure}; Kaggle Models answers, and `embed` or `finetune` will try {variant.kaggle} there"
        return warning("weights", message, f"to be sure, fetch {variant.checkpoint} yourself and set model.weights to its path")
    message = f"the published weights of {variant.id} are not available: {url}: {failure}; Kaggle Models: {other}"
    advice = f"fetch {variant.checkpoint} yourself and set model.weights to its path, or set it to random"
    return problem("weights", message, advice)


def check_weights(model: Settings) -> CheckResult:
    """Implements `family.check_weights`."""
    if model.weights == "random":
        return ok("weights", f"{model.id} starts from random weights")
    if model.weights == "pretrained":
        return _published(model.variant, model)
    if not is_url(model.weights):
        path = Path(model.weights).expanduser()
        return _fits(path if path.is_absolute() else repository_root() / path, model)
    if cached_file(model.weights).is_file():
        return _fits(cached_file(model.weights), model)
    failure = _answers(model.weights)
    if failure is None:
        return ok("weights", f"{without_credentials(model.weights)} answers")
    return problem("weights", f"model.weights = {without_credentials(model.weights)}: {failure}", ADVICE)
