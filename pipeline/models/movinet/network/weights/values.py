"""Reads the values of a checkpoint's variables without TensorFlow."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.console import UserError
from pipeline.models.movinet.network.variants import Variant
from pipeline.models.movinet.network.weights.bundle import VALUE, read_values
from pipeline.models.movinet.network.weights.checkpoint_files import read_prefix
from pipeline.models.movinet.network.weights.layouts import LAYOUTS, contents_of, find_mismatch, find_other_types, layout_of

_BACKBONE = "model/layer_with_weights-0/"


def backbone_values(prefix: Path) -> dict[str, np.ndarray]:
    """The float32 values of the backbone's variables by key, relative to the backbone and without suffix.

    Raises:
      UserError: the checkpoint cannot be read, or it is damaged.
    """
    prefix = Path(prefix)
    checkpoint = read_prefix(prefix)
    stored = contents_of(checkpoint.index.shapes, checkpoint.names).variables
    return values_of_backbone(read_values(prefix, {key: stored[key] for key in stored if key.startswith(_BACKBONE)}))


def published_values(prefix: Path, variant: Variant) -> dict[str, np.ndarray]:
    """The float32 values of all variables of published weights of `variant`, by key in the published layout.

    Raises:
      UserError: the checkpoint cannot be read, is damaged, or is of another network.
    """
    checkpoint = read_prefix(prefix)
    contents = contents_of(checkpoint.index.shapes, checkpoint.names)
    mismatch = find_mismatch(layout_of(contents), LAYOUTS[variant.id])
    if mismatch is not None:
        raise UserError(mismatch[0], advice=mismatch[1])
    if find_other_types(contents, checkpoint.index):
        raise UserError(f"{prefix}: not float32", advice="give float32 weights")
    return read_values(prefix, contents.variables)


def values_of_backbone(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the backbone's variables, with keys as in `backbone_values`. values: by key in the published layout."""
    own = {key: value for key, value in values.items() if key.startswith(_BACKBONE)}
    return {key.removeprefix(_BACKBONE).removesuffix(VALUE): value for key, value in own.items()}
