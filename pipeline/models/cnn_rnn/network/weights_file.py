"""Finds the weights file of `model.weights`. Does not import TensorFlow."""

from pathlib import Path

from pipeline.console import UserError
from pipeline.files import repository_root


def weights_file(weights: str) -> Path:
    """The path of `model.weights`, relative to the repository. Raises UserError if it is not an HDF5 file."""
    path = Path(weights).expanduser()
    path = path if path.is_absolute() else repository_root() / path
    advice = "set model.weights to imagenet, random, or an .h5 file of the network without its classifier"
    if "://" in weights or not path.exists():
        raise UserError(f"model.weights: {weights}: not found", advice=advice)
    if path.is_dir() or path.open("rb").read(8) != b"\x89HDF\r\n\x1a\n":
        raise UserError(f"model.weights: {weights}: not an HDF5 file of Keras", advice=advice)
    return path
