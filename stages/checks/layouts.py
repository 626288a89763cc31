"""What the checkpoint of each variant holds: enough to tell one from another without building the networks, which takes minutes.

`tests/movinet/test_variants.py` holds this table to the networks as they are built.
"""

from dataclasses import dataclass
from hashlib import sha256
from math import prod

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
LAST_LAYER = "/_classifier/"  # in the keys of what depends on the number of classes


@dataclass(frozen=True)
class Layout:
    """blocks: of the trunk, for `finetune.blocks`. variables, parameters: of the whole classifier with 600 classes.

    fingerprint: of the names and shapes of all variables, whatever the number of classes. classes: that number, None where the
    names do not say.
    """

    blocks: int
    variables: int
    parameters: int
    fingerprint: str
    classes: int | None = 600


def layout_of(shapes: dict[str, tuple[int, ...]], blocks: int = 0) -> Layout:
    """The layout of a checkpoint, given the shape of each of its tensors by key. Optimizers and counters do not count."""
    saved = {key: tuple(shape) for key, shape in shapes.items() if key.endswith(VALUE) and "optimizer" not in key}
    saved.pop(f"save_counter{VALUE}", None)
    last = [shape[-1] for key, shape in saved.items() if LAST_LAYER in key and key.endswith(f"/bias{VALUE}")]
    lines = [
        f"{key.removesuffix(VALUE)} {','.join(map(str, (*shape[:-1], 'classes') if LAST_LAYER in key else shape))}"
        for key, shape in sorted(saved.items())
    ]
    fingerprint = sha256("\n".join(lines).encode()).hexdigest()[:16]
    return Layout(blocks, len(saved), sum(map(prod, saved.values())), fingerprint, last[0] if len(last) == 1 else None)


LAYOUTS: dict[str, Layout] = {
    "a0": Layout(15, 334, 3_126_071, "ee6dd7ac88c6d3f0"),
    "a1": Layout(24, 514, 4_717_912, "9ad1d74d67161ab1"),
    "a2": Layout(26, 554, 5_280_922, "795c7fe6cf340055"),
    "a3": Layout(33, 699, 7_443_289, "553be265120904ac"),
    "a4": Layout(47, 974, 11_422_727, "96223b90a50f3c22"),
    "a5": Layout(59, 1219, 18_763_355, "056265a4a42667e8"),
    "a0_stream": Layout(15, 389, 3_765_983, "da14566eea9493dd"),
    "a1_stream": Layout(24, 599, 6_481_560, "8c0889564c54b444"),
    "a2_stream": Layout(26, 649, 7_366_050, "f5971622a4aedb81"),
    "a3_stream": Layout(33, 847, 11_043_146, "987292430829990d"),
    "a4_stream": Layout(47, 1196, 18_228_326, "d321be8064b02f5d"),
    "a5_stream": Layout(59, 1493, 31_636_734, "beea0b16c1425687"),
    "a0_stream_relu6": Layout(15, 329, 2_750_335, "e73564075b556096"),
}
