"""Verifies pretrained weights, and restores them completely or not at all."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.console import UserError, say
from pipeline.models.movinet.network.variants import Variant
from pipeline.models.movinet.network.weights.bundle import OBJECT_GRAPH, VALUE
from pipeline.models.movinet.network.weights.checkpoint_files import read_prefix
from pipeline.models.movinet.network.weights.layouts import (
    LAST_LAYER,
    LAYOUTS,
    Contents,
    contents_of,
    find_mismatch,
    find_other_types,
    layout_of,
)


def variable_keys(**roots: tf.Module) -> dict[str, tf.Variable]:
    """The variables that `tf.train.Checkpoint(**roots)` saves, by key: the shortest path to a variable in TensorFlow's syntax."""
    checkpoint = tf.train.Checkpoint(**roots)
    view = tf.train.TrackableView(checkpoint)
    keys: dict[str, tf.Variable] = {}
    queue, seen = [("", checkpoint)], {id(checkpoint)}
    for path, node in queue:
        for name, child in view.children(node).items():
            if id(child) in seen:
                continue
            seen.add(id(child))
            child_path = f"{path}/{name.replace('.', '..').replace('/', '.S')}".lstrip("/")
            if isinstance(child, tf.Variable):
                keys[child_path + VALUE] = child
            queue.append((child_path, child))
    keys.pop("save_counter" + VALUE, None)
    return keys


def _listed(names: list[str]) -> str:
    shown = ", ".join(name.removesuffix(VALUE) for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _differences(contents: Contents, expected: dict[str, tuple[int, ...]]) -> list[str]:
    """Descriptions of the variables that are missing, left over or of another shape."""
    missing = sorted(set(expected) - set(contents.shapes))
    left = sorted((set(contents.shapes) - set(expected)) | set(contents.unknown))
    counts = [f"{len(names)} {word} ({_listed(names)})" for names, word in ((missing, "missing"), (left, "left over")) if names]
    other = [key for key in sorted(set(expected) & set(contents.shapes)) if contents.shapes[key] != expected[key]]
    return counts + [f"{key.removesuffix(VALUE)} is {contents.shapes[key]}, not {expected[key]}" for key in other[:3]]


def _read_values(prefix: Path, stored: Mapping[str, str], source: str) -> dict[str, np.ndarray]:
    """Reads values by name. TensorFlow verifies the checksum of each. stored: keys in the checkpoint, by name."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        return {name: reader.get_tensor(key) for name, key in stored.items()}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:  # the reader raises many types
        message = f"{source}: damaged: {' '.join(str(error).split())[:200]}"
        raise UserError(message, advice="fetch it again") from error


def write_with_new_head(prefix: Path, variant: Variant, num_classes: int, target: Path) -> int | None:
    """Copies a checkpoint of published weights with a last layer of zeros for other classes, without building the network.

    Args:
      target: prefix of the copy.

    Returns the number of the network's variables; None, with nothing written, if the checkpoint is not exactly in the published
    layout: its network must then be built to find out whether the weights fit.

    Raises:
      UserError: not a checkpoint, or damaged.
    """
    checkpoint = read_prefix(prefix)
    contents = contents_of(checkpoint.index.shapes, checkpoint.names)
    counters = all("save_counter" in key for key in contents.ignored)
    if contents.saved_model or not counters or find_mismatch(layout_of(contents), LAYOUTS[variant.id]):
        return None
    if OBJECT_GRAPH not in checkpoint.index.tensors or find_other_types(contents, checkpoint.index):
        return None
    keys = sorted(checkpoint.index.tensors)
    values = _read_values(prefix, {key: key for key in keys}, str(prefix))
    for key in keys:
        if LAST_LAYER in key:
            values[key] = np.zeros((*values[key].shape[:-1], num_classes), np.float32)
    tensors = [values[key] for key in keys]
    tf.raw_ops.SaveV2(prefix=str(target), tensor_names=keys, shape_and_slices=[""] * len(keys), tensors=tensors)
    return len(contents.variables)


def restore(classifier: tf.Module, prefix: Path, source: str) -> int:
    """Restores all variables of `classifier`, or none; returns their number.

    Variables are matched by their keys in `tf.train.Checkpoint(model=classifier)`. Those of a SavedModel are matched by the names
    that they had when it was saved, never by their order, which differs between versions.

    Args:
      prefix: of such a checkpoint, or of the variables of a SavedModel: TensorFlow Hub's, a copy of it, or one inside another
        model.
      source: the user's name of the weights, for messages.

    Raises:
      UserError: not a checkpoint, damaged, or of another network. The message lists differences.
    """
    try:
        checkpoint = read_prefix(Path(prefix))
    except UserError as error:
        raise UserError(f"{source}: {error.message}", advice=error.advice) from error
    variables = variable_keys(model=classifier)
    contents = contents_of(checkpoint.index.shapes, checkpoint.names)
    expected = {key: tuple(variable.shape) for key, variable in variables.items()}
    differences = _differences(contents, expected)
    if differences:
        message, advice = find_mismatch(layout_of(contents), layout_of(contents_of(expected)), differences)
        raise UserError(f"{source}: {message}", advice=advice)
    other = find_other_types(contents, checkpoint.index)
    if other:
        raise UserError(f"{source}: {_listed(other)}: not float32", advice="give float32 weights")
    covered = {id(variable) for variable in variables.values()}
    if any(id(variable) not in covered for variable in classifier.variables):
        raise ValueError("the model has a variable that tf.train.Checkpoint does not save")
    values = _read_values(prefix, contents.variables, source)
    for key, value in values.items():
        variables[key].assign(value)
    ignored = [key for key in contents.ignored if "save_counter" not in key]
    if ignored:
        say(f"{source}: left out {len(ignored)} values that are not of the network ({_listed(ignored)})")
    return len(values)
