"""The names of the Kinetics-600 classes, which published weights do not contain.

Source: the Model Garden's list, which is fetched once into `.cache/labels` and is not part of this repository.
"""

import hashlib
from pathlib import Path

from pipeline.console import UserError
from pipeline.files import atomic_file, repository_root
from pipeline.models.class_names import read_labels
from pipeline.models.movinet.network.variants import KINETICS_CLASSES

# One name per line, in the order of the logits of the published weights.
LABELS_URL = (
    "https://raw.githubusercontent.com/tensorflow/models/f8af2291cced43fc9f1d9b41ddbf772ae7b0d7d2/"
    "official/projects/movinet/files/kinetics_600_labels.txt"
)
LABELS_SHA256 = "8dfca4202520ea8291ce0242ef33b006d0a0772b409663c090a2876bc1978dcf"
TIMEOUT = 30  # seconds without data


def labels_cache() -> Path:
    return repository_root() / ".cache" / "labels" / "kinetics_600_labels.txt"


def _fetch() -> bytes:
    import requests  # takes half a second, and the list is fetched once

    advice = "give the list as --labels FILE (600 names, one per line)"
    try:
        response = requests.get(LABELS_URL, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise UserError(
            f"the names of the Kinetics-600 classes cannot be fetched from {LABELS_URL} ({type(error).__name__})",
            advice=advice,
        ) from error
    if response.status_code != 200:
        raise UserError(f"{LABELS_URL}: the server answers {response.status_code} {response.reason}", advice=advice)
    if hashlib.sha256(response.content).hexdigest() != LABELS_SHA256:
        raise UserError(f"{LABELS_URL}: the content is not the published list of Kinetics-600 classes", advice=advice)
    return response.content


def kinetics_labels(file: Path | None = None) -> list[str]:
    """The 600 names in the order of the logits: from `file` if given, else from the cache, else fetched.

    Raises:
      UserError: the list cannot be fetched or has changed, or `file` cannot be read or does not have 600 names.
    """
    cached = labels_cache()
    if file is None:
        if not cached.exists():
            content = _fetch()
            with atomic_file(cached) as part:
                part.write_bytes(content)
        elif hashlib.sha256(cached.read_bytes()).hexdigest() != LABELS_SHA256:
            raise UserError(f"{cached}: has changed since it was fetched", advice="delete it and run again")
    names = read_labels(file or cached)
    if len(names) != KINETICS_CLASSES:
        raise UserError(
            f"--labels {file or cached}: holds {len(names)} names", advice=f"Kinetics-600 has {KINETICS_CLASSES} classes"
        )
    return names
