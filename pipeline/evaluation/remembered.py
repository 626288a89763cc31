"""Results that cached features decide, and no top: computed once, and kept in `.cache/evaluation` for later trials of tops.

Invariants: a key is made of all that a result is computed from, of this package's code and of the versions of the libraries, so a
result is only found where computing it again would give the same. Computing needs scikit-learn, whose import takes longer than
most of these computations; reading does not.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import content_key, read_json, repository_root, write_json

LIBRARIES = ("numpy", "scipy", "scikit-learn", "cleanlab", "pandas")


@cache
def _code() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest(array: np.ndarray) -> list:
    is_text = array.dtype.kind in "OU"
    content = json.dumps(array.tolist()).encode() if is_text else np.ascontiguousarray(array).tobytes()
    return [is_text or array.dtype.str, array.shape, hashlib.sha256(content).hexdigest()]


def remember(kind: str, arrays: Iterable[np.ndarray], others: list[Any], compute: Callable[[], Any]) -> Any:
    """The result of `compute`, which JSON can hold, from an earlier call if there was one with the same inputs.

    arrays: numbers or text. others: inputs that JSON can hold.
    """
    versions = [(name, metadata.version(name)) for name in LIBRARIES]
    inputs = [_code(), versions, [_digest(array) for array in arrays], others]
    path = repository_root() / ".cache" / "evaluation" / f"{kind}-{content_key(*inputs)}.json"
    if not path.exists():
        write_json(path, compute())
    return read_json(path)
