"""The head in a classifier's files: its checkpoint, its SavedModel and `head.npz`, read and replaced without TensorFlow.

Invariants: the head's weights are variables of both, under the published keys in the checkpoint, as kernels of pointwise
convolutions, and as `head_variables` in the SavedModel (`serving.Classifier`). What is of the backbone is copied.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.files import atomic_folder
from pipeline.models.movinet.apply import HeadValues, save_head
from pipeline.models.movinet.network.weights.bundle import VALUE, read_shapes, read_values
from pipeline.models.movinet.network.weights.copying import count_parameters, replace_values

HEAD_FIELDS = tuple(HeadValues.__dataclass_fields__)


def head_keys(keys) -> dict[str, str]:
    """Finds the keys of the head's four variables among a checkpoint's keys; returns them by field of HeadValues."""
    found = {}
    for field, layer, variable in (
        ("projection", "_head", "kernel"),
        ("projection_bias", "_head", "bias"),
        ("classifier", "_classifier", "kernel"),
        ("classifier_bias", "_classifier", "bias"),
    ):
        matches = [key for key in keys if f"/{layer}/" in key and key.endswith(f"/{variable}{VALUE}")]
        if len(matches) != 1:
            raise ValueError(f"the checkpoint should have one key of {layer} {variable}, but it has {len(matches)}")
        found[field] = matches[0]
    return found


def _shapes(prefix: Path) -> dict[str, tuple[int, ...]]:
    return read_shapes(Path(f"{prefix}.index").read_bytes())


def read_head(prefix: Path) -> HeadValues:
    """Reads the head's weights from a classifier's checkpoint."""
    keys = head_keys(_shapes(prefix))
    return head_values(read_values(prefix, {key: key for key in keys.values()}))


def head_values(values: Mapping[str, np.ndarray]) -> HeadValues:
    """The head's weights among the values of a checkpoint's variables, by key."""
    arrays = {field: values[key] for field, key in head_keys(values).items()}
    return HeadValues(**{field: array.reshape(array.shape[-2:] if array.ndim > 1 else -1) for field, array in arrays.items()})


def write_head(values: HeadValues, embeddings: Path, folder: Path) -> int:
    """Copies the initial classifier of the embeddings (`Backbone.save_initial`) to a classifier's folder, with another head.

    Returns the number of parameters of the classifier.
    """
    prefix, source = embeddings / "ckpt-1", embeddings / "saved_model"
    shapes = _shapes(prefix)
    arrays = {field: np.asarray(getattr(values, field), np.float32) for field in HEAD_FIELDS}
    replace_values(
        prefix, folder / "ckpt-1", {key: arrays[field].reshape(shapes[key]) for field, key in head_keys(shapes).items()}
    )
    with atomic_folder(folder / "saved_model") as part:
        shutil.copytree(source, part, dirs_exist_ok=True, ignore=shutil.ignore_patterns("variables", "fingerprint.pb"))
        new = {f"head_variables/{index}{VALUE}": arrays[field] for index, field in enumerate(HEAD_FIELDS)}
        replace_values(source / "variables" / "variables", part / "variables" / "variables", new)
        (part / "variables" / "checkpoint").unlink()
    save_head(values, folder / "head.npz")
    return count_parameters(prefix)
