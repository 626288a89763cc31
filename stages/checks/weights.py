"""Whether `model.weights` can be had and fits `model.id`, found without TensorFlow and without fetching anything.

The order of looking is that of `stages/movinet/checkpoints.py`, which fetches and restores.
"""

import re
import tarfile
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlparse

import requests

from stages.checks.bundle import NotAnIndexError, read_shapes
from stages.checks.findings import Finding, listed, ok, problem, warning
from stages.checks.layouts import LAYOUTS, VALUE, layout_of
from stages.console import UserError
from stages.files import repository_root
from stages.movinet.variants import KINETICS_CLASSES, PUBLISHED_ROOT, VARIANTS, Variant
from stages.params import Model
from stages.tracking.store import without_credentials

KAGGLE = "https://www.kaggle.com"
TIMEOUT = 10  # seconds without a byte
ADVICE = "set model.weights to a tarball, folder or checkpoint prefix that is there, or to random"


def weights_cache() -> Path:
    return repository_root() / ".cache" / "weights"


def _fetched(url: str) -> Path:
    """Where `stages.movinet.checkpoints` keeps what it fetched from `url`."""
    return weights_cache() / sha256(url.encode()).hexdigest()[:16] / (Path(urlparse(url).path).name or "weights")


def _answers(url: str) -> str | None:
    """None where a GET of `url` would bring its content, else why not. The content is not read."""
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT) as response:
            return None if response.status_code == 200 else f"the server answers {response.status_code} {response.reason}"
    except requests.RequestException as error:
        return f"no answer ({type(error).__name__})"


def _chosen(names: list[str], checkpoint_file: Callable[[str], str | None], where: str) -> str:
    """The index that stands for a folder of checkpoints: the one its `checkpoint` file names, else the only one there is."""
    named = checkpoint_file("checkpoint")
    match = re.search(r'^model_checkpoint_path: "([^"]+)"', named or "", re.MULTILINE)
    if match and f"{Path(match[1]).name}.index" in names:
        return f"{Path(match[1]).name}.index"
    found = sorted(name for name in names if name.endswith(".index"))
    if len(found) != 1:
        raise UserError(f"{where} should hold one checkpoint (a *.index file), found {listed(found) or 'none'}; {ADVICE}")
    return found[0]


def _index_in_folder(folder: Path) -> tuple[str, bytes]:
    def text(name: str) -> str | None:
        file = folder / name
        return file.read_text(errors="replace") if file.is_file() else None

    name = _chosen([path.relative_to(folder).as_posix() for path in folder.rglob("*.index")], text, str(folder))
    _need_data([path.name for path in (folder / name).parent.iterdir()], Path(name).name, str(folder))
    return str(folder / name), (folder / name).read_bytes()


def _index_in_tarball(path: Path) -> tuple[str, bytes]:
    try:
        with tarfile.open(path) as archive:
            members = {member.name: member for member in archive if member.isfile()}
            name = _chosen(list(members), lambda name: None, str(path))
            _need_data([Path(member).name for member in members], Path(name).name, str(path))
            return f"{path}: {name}", archive.extractfile(members[name]).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path} is not a whole tar archive ({' '.join(str(error).split())[:200]}); {ADVICE}") from error


def _need_data(names: list[str], index: str, where: str) -> None:
    if not any(name.startswith(f"{index.removesuffix('.index')}.data-") for name in names):
        raise UserError(f"{where}: {index} is there, but not the values beside it (.data-00000-of-00001); {ADVICE}")


def _index(path: Path) -> tuple[str, bytes]:
    """What the checkpoint at `path` (tarball, folder, prefix or index) is called, and its index."""
    if path.is_dir():
        return _index_in_folder(path)
    if path.is_file() and not path.name.endswith(".index"):
        return _index_in_tarball(path)
    index = path if path.name.endswith(".index") else path.with_name(f"{path.name}.index")
    if not index.is_file():
        raise UserError(f"{path}: no such tarball, folder or checkpoint prefix; {ADVICE}")
    _need_data([entry.name for entry in index.parent.iterdir()], index.name, str(index.parent))
    return str(index), index.read_bytes()


def _fits(path: Path, model: Model) -> Finding:
    """Compares a checkpoint's variables with those of `model.id`."""
    try:
        name, content = _index(path)
        shapes = read_shapes(content)
    except UserError as error:
        message, _, advice = str(error).rpartition("; ")
        return problem("weights", f"model.weights: {message}", advice)
    except NotAnIndexError as error:
        return problem("weights", f"model.weights: {path} is not a TensorFlow checkpoint: {error}", ADVICE)
    found, wanted = layout_of(shapes), LAYOUTS[model.id]
    if not any(key.startswith("model/") and key.endswith(VALUE) for key in shapes):  # of a SavedModel; its keys are numbers
        if found.variables == wanted.variables:
            return ok("weights", f"{name}: a SavedModel of {found.variables} variables, as {model.id} has")
        same = [other for other, layout in LAYOUTS.items() if layout.variables == found.variables]
        return _misfit(name, f"holds {found.variables} variables, {model.id} has {wanted.variables}", same, model)
    if found.fingerprint == wanted.fingerprint:
        if found.classes == KINETICS_CLASSES:
            return ok("weights", f"{name}: all {found.variables} variables of {model.id}, in name and shape")
        message = f"{name} is {model.id} with {found.classes} classes; pretrained weights have {KINETICS_CLASSES}"
        return problem("weights", f"model.weights: {message}", "give the checkpoint that training began with")
    same = [other for other, layout in LAYOUTS.items() if layout.fingerprint == found.fingerprint]
    return _misfit(name, f"does not fit {model.id} ({found.variables} variables, not {wanted.variables})", same, model)


def _misfit(name: str, why: str, same: list[str], model: Model) -> Finding:
    if same:
        advice = f"set model={same[0]}, or give the weights of {model.id}"
        return problem("weights", f"model.weights: {name} {why}; it is a checkpoint of {' or '.join(same)}", advice)
    return problem("weights", f"model.weights: {name} {why}", f"give the weights of {model.id}, or set model.weights=random")


def _published(variant: Variant, model: Model) -> Finding:
    if variant.checkpoint is None:
        return problem("weights", f"no weights of {variant.id} are published", ADVICE)
    url = f"{PUBLISHED_ROOT}/{variant.checkpoint}"
    if _fetched(url).is_file():
        return _fits(_fetched(url), model)
    if any((weights_cache() / "kaggle" / "models" / variant.kaggle).glob("*.complete")):
        return ok("weights", f"{variant.kaggle} was fetched from Kaggle Models before")
    failure = _answers(url)
    if failure is None:
        return ok("weights", f"{url} answers")
    other = _answers(KAGGLE)
    if other is None:
        message = f"{url}: {failure}; Kaggle Models answers, and `embed` or `finetune` will try {variant.kaggle} there"
        return warning("weights", message, f"to be sure, fetch {variant.checkpoint} yourself and set model.weights to its path")
    message = f"the published weights of {variant.id} cannot be had: {url}: {failure}; Kaggle Models: {other}"
    return problem(
        "weights", message, f"fetch {variant.checkpoint} yourself and set model.weights to its path, or set it to random"
    )


def check_weights(model: Model, needed: bool) -> Finding:
    """Where `model.weights` stands; what is not `needed` in the next run, because its stage is up to date, is never a problem."""
    if model.weights == "random":
        return ok("weights", f"{model.id} starts from random weights")
    scheme = urlparse(model.weights).scheme
    if model.weights == "pretrained":
        finding = _published(VARIANTS[model.id], model)
    elif scheme in ("http", "https"):
        there = _fetched(model.weights)
        failure = None if there.is_file() else _answers(model.weights)
        if there.is_file():
            finding = _fits(there, model)
        elif failure is None:
            finding = ok("weights", f"{without_credentials(model.weights)} answers")
        else:
            finding = problem("weights", f"model.weights = {without_credentials(model.weights)}: {failure}", ADVICE)
    else:
        path = Path(model.weights).expanduser()
        finding = _fits(path if path.is_absolute() else repository_root() / path, model)
    if finding.status == "problem" and not needed:
        return warning("weights", f"{finding.message} (not needed now: what they were for is made)", finding.advice)
    return finding
