"""The layout of each variant's checkpoint, and which tensors of a checkpoint belong to the network.

The doctor and `checkpoints.restore` use the same rules. The table identifies variants without building the networks, which takes
minutes; `test_variants.py` compares it with the built networks. Does not import TensorFlow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import prod

from pipeline.models.movinet.network.weights.bundle import FLOAT32, VALUE, Index
from pipeline.models.movinet.network.weights.saved_model_names import checkpoint_keys, name_in_key

LAST_LAYER = "/_classifier/"  # in the keys of the variables whose shape depends on the number of classes
# Parts of the keys of other training state: the metrics of compile(), optimizers, counters.
_NOT_OF_THE_NETWORK = {"keras_api", "optimizer", ".OPTIMIZER_SLOT", "save_counter", "_save_counter", "global_step"}

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Layout:
    """A summary of the variables in the checkpoint of a classifier.

    Attributes:
      blocks: number of blocks of the backbone, for `finetune.blocks`.
      variables, parameters: their numbers, in the table with 600 classes.
      fingerprint: of the keys and shapes of all variables, independent of the number of classes.
      shapes: fingerprint of the shapes alone, in the table with 600 classes. It identifies an index whose keys are only numbers.
      classes: number of classes; None if the keys do not determine it.
    """

    blocks: int
    variables: int
    parameters: int
    fingerprint: str
    shapes: str
    classes: int | None = 600


@dataclass(frozen=True)
class Contents:
    """The variables of a checkpoint, classified.

    Attributes:
      variables: those of the network: key in a training checkpoint (`model/...`) -> key in this checkpoint.
      shapes: of `variables`, by key in a training checkpoint.
      unknown: shapes of other variables that are not known to be irrelevant, by description.
      ignored: keys of irrelevant variables: metrics, optimizers, counters, and in a training checkpoint all outside `model/`.
      saved_model: whether it is of a SavedModel, whose variables are identified by name instead of key.
    """

    variables: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    unknown: dict[str, tuple[int, ...]]
    ignored: list[str]
    saved_model: bool


def contents_of(shapes: Shapes, names: Mapping[str, str] | None = None) -> Contents:
    """Classifies the variables of a checkpoint.

    Args:
      shapes: of all tensors, by key.
      names: of the variables when they were saved, by key (`bundle.read_names`). Without names, a SavedModel's variables can only
        be identified if a wrapper has put the names into the keys.
    """
    all_keys = [key for key in shapes if key.endswith(VALUE)]
    keys = [key for key in all_keys if _NOT_OF_THE_NETWORK.isdisjoint(key.split("/"))]
    saved_model = not any(key.startswith("model/") for key in keys)
    if not saved_model:
        keys = [key for key in keys if key.startswith("model/")]
        training_keys = {key: key for key in keys}
        variable_names = {}
    else:
        saved_names = {key: (names or {}).get(key, "").removesuffix(":0") for key in keys}
        names_in_keys = {key: name_in_key(key) for key in keys}
        variable_names = max((saved_names, names_in_keys), key=lambda names: len(checkpoint_keys(names)))
        training_keys = checkpoint_keys(variable_names)
    variables: dict[str, str] = {}
    unknown = {}
    for key in keys:
        training_key = training_keys.get(key)
        if training_key is None or training_key in variables:  # of two variables with the same name neither can be preferred
            unknown[" = ".join(filter(None, (key.removesuffix(VALUE), variable_names[key])))] = tuple(shapes[key])
        else:
            variables[training_key] = key
    ignored = sorted(set(all_keys) - set(keys))
    found_shapes = {training_key: tuple(shapes[key]) for training_key, key in variables.items()}
    return Contents(variables, found_shapes, unknown, ignored, saved_model)


def _fingerprint(lines: Iterable[str]) -> str:
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def layout_of(contents: Contents, blocks: int = 0) -> Layout:
    """The layout of a checkpoint. blocks: `Layout.blocks`, which the checkpoint does not determine."""
    shapes = contents.shapes | contents.unknown
    class_counts = [shape[-1] for key, shape in shapes.items() if LAST_LAYER in key and key.endswith(f"/bias{VALUE}")]
    lines = (
        f"{key.removesuffix(VALUE)} {','.join(map(str, (*shape[:-1], 'classes') if LAST_LAYER in key else shape))}"
        for key, shape in shapes.items()
    )
    return Layout(
        blocks,
        variables=len(shapes),
        parameters=sum(map(prod, shapes.values())),
        fingerprint=_fingerprint(lines),
        shapes=_fingerprint(",".join(map(str, shape)) for shape in shapes.values()),
        classes=class_counts[0] if len(class_counts) == 1 else None,
    )


def matching_variants(layout: Layout) -> list[str]:
    """The variants whose layout has the same keys and shapes; if there is none, those with the same shapes."""
    same = [name for name, known in LAYOUTS.items() if known.fingerprint == layout.fingerprint]
    return same or [name for name, known in LAYOUTS.items() if known.shapes == layout.shapes]


def find_mismatch(found: Layout, wanted: Layout, differences: Sequence[str] = ()) -> tuple[str, str] | None:
    """Explains why a checkpoint does not fit a network. Returns a message and advice; None if it fits.

    Args:
      found: layout of the checkpoint. wanted: layout of the network.
      differences: descriptions for the message, if the checkpoint is not of another known variant.
    """
    if found.fingerprint == wanted.fingerprint and found.classes == wanted.classes:
        return None
    wanted_variants, found_variants = matching_variants(wanted), matching_variants(found)
    model = wanted_variants[0] if wanted_variants else "this model"
    listed = f": {'; '.join(differences)}" if differences else ""
    if found.fingerprint == wanted.fingerprint:
        message = f"these are weights of {model} with {found.classes} classes, not {wanted.classes}"
        if wanted.classes == 600:
            return message, "pretrained weights have 600; to classify with a fine-tuned classifier, use --model models/classifier"
        return message, "give the checkpoint that belongs to it"
    if found.shapes == wanted.shapes:
        message = f"the shapes are those of {model}, but not the names, which identify the variables{listed}"
        return message, "give the weights as they were published, or saved as tf.train.Checkpoint(model=...)"
    if found_variants:
        message = f"these are weights of {' or '.join(found_variants)}, not of {model}"
        return message, f"set model={found_variants[0]}, or give the weights of {model}"
    counts = f" ({found.variables} variables, not {wanted.variables})" if found.variables != wanted.variables else ""
    return (
        f"does not fit {model}{counts}{listed}",
        f"give the weights of {model}" if wanted_variants else "is it the checkpoint of another variant?",
    )


def find_other_types(contents: Contents, index: Index) -> list[str]:
    """The keys of the variables that are not float32. In every variant all are float32."""
    return [key.removesuffix(VALUE) for key in contents.variables.values() if index.tensors[key].dtype != FLOAT32]


def are_published_values(contents: Contents, index: Index) -> bool:
    """Whether the values are those of the published weights, by the checksums in the index.

    The published checksums are known only for A2; for other variants it returns False.
    """
    lines = (f"{key.removesuffix(VALUE)} {index.tensors[stored].crc32c}" for key, stored in contents.variables.items())
    return _fingerprint(lines) in PUBLISHED_VALUES.values()


LAYOUTS: dict[str, Layout] = {
    "a0": Layout(15, 334, 3_126_071, "ee6dd7ac88c6d3f0", "b060924d9bf2550c"),
    "a1": Layout(24, 514, 4_717_912, "9ad1d74d67161ab1", "53286f26ef3b38e2"),
    "a2": Layout(26, 554, 5_280_922, "795c7fe6cf340055", "5ebf3a7f443d07d0"),
    "a3": Layout(33, 699, 7_443_289, "553be265120904ac", "4a94a9dca1d7f79d"),
    "a4": Layout(47, 974, 11_422_727, "96223b90a50f3c22", "5ace1bf3105fc8a0"),
    "a5": Layout(59, 1219, 18_763_355, "056265a4a42667e8", "eec207a637f210ce"),
    "a0_stream": Layout(15, 389, 3_765_983, "da14566eea9493dd", "d6bf53ecbc516dcb"),
    "a1_stream": Layout(24, 599, 6_481_560, "8c0889564c54b444", "2019ebb1cd644a40"),
    "a2_stream": Layout(26, 649, 7_366_050, "f5971622a4aedb81", "eba89ba41530ad36"),
    "a3_stream": Layout(33, 847, 11_043_146, "987292430829990d", "87d4f5435c8f2b26"),
    "a4_stream": Layout(47, 1196, 18_228_326, "d321be8064b02f5d", "3327b3d5e0133050"),
    "a5_stream": Layout(59, 1493, 31_636_734, "beea0b16c1425687", "4608ca65de2fa69e"),
    "a0_stream_relu6": Layout(15, 329, 2_750_335, "e73564075b556096", "273052d3c463b3dd"),
}

# Fingerprints of the keys and masked CRC32C checksums of all values of the weights published on Kaggle Models.
PUBLISHED_VALUES = {"a2": "9e494122d36237a5", "a2_stream": "4e6ac28233b37ba3"}
