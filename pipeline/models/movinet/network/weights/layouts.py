"""What a checkpoint of each variant holds, and which of its tensors count: the same rules for the doctor and for restoring.

The table tells one variant from another without building the networks, which takes minutes; `test_variants.py` holds it to
the networks as they are built. Nothing here imports TensorFlow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import prod

from pipeline.models.movinet.network.weights.bundle import FLOAT32, VALUE, Index
from pipeline.models.movinet.network.weights.saved_model_names import checkpoint_keys, name_in_key

LAST_LAYER = "/_classifier/"  # in the keys of what depends on the number of classes
# Parts of keys of what a training program keeps next to a network: compile()'s metrics, optimizers, counters.
_NOT_OF_THE_NETWORK = {"keras_api", "optimizer", ".OPTIMIZER_SLOT", "save_counter", "_save_counter", "global_step"}

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Layout:
    """What the checkpoint of a variant looks like.

    Attributes:
      blocks: of the backbone, for `finetune.blocks`.
      variables, parameters: of the whole classifier with 600 classes.
      fingerprint: of the keys and shapes of all variables, whatever the number of classes.
      shapes: of the shapes alone, with 600 classes: for an index whose keys are numbers and whose data file is not there.
      classes: the number of classes; None where the keys do not say.
    """

    blocks: int
    variables: int
    parameters: int
    fingerprint: str
    shapes: str
    classes: int | None = 600


@dataclass(frozen=True)
class Contents:
    """The tensors of a checkpoint, sorted.

    Attributes:
      variables: of the network: the key of a training checkpoint (`model/...`) -> the key in this one.
      shapes: of `variables`, by the same keys.
      unknown: what is neither of a MoViNet classifier nor known to be harmless, as it is called.
      ignored: keys of what is known to be harmless: metrics, optimizers, counters, and what is not under `model/` where that is.
      saved_model: told by names, not by keys.
    """

    variables: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    unknown: dict[str, tuple[int, ...]]
    ignored: list[str]
    saved_model: bool


def contents_of(shapes: Shapes, names: Mapping[str, str] | None = None) -> Contents:
    """Sorts a checkpoint's tensors into those of the network, harmless ones, and unknown ones.

    Args:
      shapes: of all tensors, by key.
      names: that the variables had where they were saved, by key (`bundle.read_names`). Without them, a SavedModel's variables
        are known only where a wrapper put the names into the keys.
    """
    keys = [key for key in shapes if key.endswith(VALUE)]
    own = [key for key in keys if _NOT_OF_THE_NETWORK.isdisjoint(key.split("/"))]
    saved_model = not any(key.startswith("model/") for key in own)
    if not saved_model:
        own = [key for key in own if key.startswith("model/")]
        translated = {key: key for key in own}
        called = {}
    else:
        saved = {key: (names or {}).get(key, "").removesuffix(":0") for key in own}
        called = max((saved, {key: name_in_key(key) for key in own}), key=lambda names: len(checkpoint_keys(names)))
        translated = checkpoint_keys(called)
    variables: dict[str, str] = {}
    unknown = {}
    for key in own:
        wanted = translated.get(key)
        if wanted is None or wanted in variables:  # twice under one name: which of the two is it?
            unknown[" = ".join(filter(None, (key.removesuffix(VALUE), called[key])))] = tuple(shapes[key])
        else:
            variables[wanted] = key
    ignored = sorted(set(keys) - set(own))
    return Contents(variables, {key: tuple(shapes[own]) for key, own in variables.items()}, unknown, ignored, saved_model)


def _fingerprint(lines: Iterable[str]) -> str:
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def layout_of(contents: Contents, blocks: int = 0) -> Layout:
    """The layout of a checkpoint's network; `blocks` is taken over."""
    saved = contents.shapes | contents.unknown
    last = [shape[-1] for key, shape in saved.items() if LAST_LAYER in key and key.endswith(f"/bias{VALUE}")]
    lines = (
        f"{key.removesuffix(VALUE)} {','.join(map(str, (*shape[:-1], 'classes') if LAST_LAYER in key else shape))}"
        for key, shape in saved.items()
    )
    return Layout(
        blocks,
        variables=len(saved),
        parameters=sum(map(prod, saved.values())),
        fingerprint=_fingerprint(lines),
        shapes=_fingerprint(",".join(map(str, shape)) for shape in saved.values()),
        classes=last[0] if len(last) == 1 else None,
    )


def matching_variants(layout: Layout) -> list[str]:
    """The variants whose checkpoint looks like `layout`: by keys and shapes, else by the shapes alone."""
    same = [name for name, known in LAYOUTS.items() if known.fingerprint == layout.fingerprint]
    return same or [name for name, known in LAYOUTS.items() if known.shapes == layout.shapes]


def find_mismatch(found: Layout, wanted: Layout, differences: Sequence[str] = ()) -> tuple[str, str] | None:
    """Why a checkpoint that looks like `found` is not one of a network that looks like `wanted`, and what to do; None: it may be.

    Says which variant's weights these are, where they are known, else the `differences`.
    """
    if found.fingerprint == wanted.fingerprint and found.classes == wanted.classes:
        return None
    ours, theirs = matching_variants(wanted), matching_variants(found)
    model = ours[0] if ours else "this model"
    listed = f": {'; '.join(differences)}" if differences else ""
    if found.fingerprint == wanted.fingerprint:
        message = f"these are weights of {model} with {found.classes} classes, not {wanted.classes}"
        if wanted.classes == 600:
            return message, "pretrained weights have 600; to classify with a fine-tuned classifier, use --model models/classifier"
        return message, "give the checkpoint that belongs to it"
    if found.shapes == wanted.shapes:
        message = f"the shapes are those of {model}, but not the names, which tell what is what{listed}"
        return message, "give the weights as they were published, or saved as tf.train.Checkpoint(model=...)"
    if theirs:
        message = f"these are weights of {' or '.join(theirs)}, not of {model}"
        return message, f"set model={theirs[0]}, or give the weights of {model}"
    counts = f" ({found.variables} variables, not {wanted.variables})" if found.variables != wanted.variables else ""
    return (
        f"does not fit {model}{counts}{listed}",
        f"give the weights of {model}" if ours else "is it the checkpoint of another variant?",
    )


def find_other_types(contents: Contents, index: Index) -> list[str]:
    """The keys of variables whose values are not float32, which no variant has."""
    return [own.removesuffix(VALUE) for own in contents.variables.values() if index.tensors[own].dtype != FLOAT32]


def are_published_values(contents: Contents, index: Index) -> bool:
    """Whether these are the values of the published weights, by the checksum that the index has of each.

    False where these are not known: they are for A2 only.
    """
    lines = (f"{key.removesuffix(VALUE)} {index.tensors[own].crc32c}" for key, own in contents.variables.items())
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
