"""Maps the names of a SavedModel's variables to the keys of a training checkpoint.

A training checkpoint has each variable under its path in the object (`model/layer_with_weights-0/layer_with_weights-3/
_expansion/_conv/kernel`). TensorFlow Hub's SavedModels, and models derived from them, have numbered lists (`variables/17`), whose
order depends on the versions of Keras and the Model Garden. There only the names identify the variables, for example
`b0/l2/bneck/expansion/conv3d/kernel`. The names depend on the version, too: blocks are `b0/l2` or `block0_layer2`; convolutions
are numbered if a program built several (`conv2d_3`); batch norms of stream networks are inside the convolution's scope or next to
it.
"""

import re
from collections.abc import Mapping

from pipeline.models.movinet.network.weights.bundle import VALUE

_BACKBONE, _HEAD = "model/layer_with_weights-0", "model/layer_with_weights-1"
_BLOCK = re.compile(r"(?:b(\d+)/l(\d+)|block(\d+)_layer(\d+))/(.+)")
_CONVOLUTION = re.compile(r"(?:depthwise_)?conv[23]d(_temporal)?(?:_\d+)?")
_NUMBERED = re.compile(r"(.*?)(\d+)")
_ATTRIBUTES = {  # name scope -> attribute of the object; empty if the scope has no object of its own
    "bneck": "",
    "stem": "_stem",
    "expansion": "_expansion",
    "feature": "_feature",
    "projection": "_projection",
    "project": "_project",
    "skip": "_skip",
    "skip_project": "_projection",
    "se": "_attention",
    "se_reduce": "_se_reduce",
    "se_expand": "_se_expand",
    "bn": "_batch_norm",
    "bn_temporal": "_batch_norm_temporal",
    "head": "_head",
    "classifier": "_classifier",
}
_REZERO, _POSITION = "_mobile_bottleneck/_rezero/scale", "_attention/_pos_encoding/_rezero/scale"


def name_in_key(key: str) -> str:
    """The variable's name if a wrapper has used it as an attribute: `.../b0.Sl0.Sscale:0/.ATTRIBUTES/...` is `b0/l0/scale`."""
    last = key.removesuffix(VALUE).rpartition("/")[2]
    return last.replace(".S", "/").replace("..", ".").removesuffix(":0")


def _attributes(name: str) -> str | None:
    """Converts a variable's name within a layer to its path in the layer; None if it is not of a MoViNet."""
    if name == "scale":
        return _REZERO
    *scopes, variable = name.split("/")
    if variable == "scale" and "se" in scopes:
        return _POSITION
    path = []
    batch_norm = scopes[-1:] in (["bn"], ["bn_temporal"])
    for scope in scopes:
        convolution = _CONVOLUTION.fullmatch(scope)
        if convolution and not batch_norm:
            path.append("_conv_temporal" if convolution[1] else "_conv")
        elif not convolution and scope not in _ATTRIBUTES:
            return None
        elif not convolution and _ATTRIBUTES[scope]:
            path.append(_ATTRIBUTES[scope])
    return "/".join([*path, variable])


def _order(key: str) -> tuple[str, int]:
    match = _NUMBERED.fullmatch(key.removesuffix(VALUE))
    return (match[1], int(match[2])) if match else (key, 0)


def checkpoint_keys(names: Mapping[str, str]) -> dict[str, str]:
    """The keys of a training checkpoint, by key in the SavedModel, of all variables whose names are known.

    Args:
      names: of all variables, by key in the SavedModel.
    """
    blocks = {}  # SavedModel's key -> (block, layer)
    for key, name in names.items():
        if match := _BLOCK.fullmatch(name):
            blocks[key] = (int(match[1] or match[3]), int(match[2] or match[4]))
    layers = {block: number for number, block in enumerate(sorted(set(blocks.values())), start=1)}  # 0 is the stem
    ordered = sorted(names, key=_order)
    training_keys = {}
    for index, key in enumerate(ordered):
        name = names[key]
        if key in blocks:
            layer, within = f"{_BACKBONE}/layer_with_weights-{layers[blocks[key]]}", _BLOCK.fullmatch(name)[5]
        elif name.startswith("stem/"):
            layer, within = f"{_BACKBONE}/layer_with_weights-0", name.removeprefix("stem/")
        elif name.startswith("head/"):
            layer, within = f"{_BACKBONE}/layer_with_weights-{len(layers) + 1}", name.removeprefix("head/")
        elif match := re.fullmatch(r"classifier_head(?:_\d+)?/(.+)", name):
            layer, within = _HEAD, match[1]
        elif re.fullmatch(r"scale(_\d+)?", name) and 0 < index < len(ordered) - 1:
            # A positional encoding's scale is built outside of its block's name scope. But lists keep the variables of a layer
            # together, so its neighbours are of the same block.
            before, after = blocks.get(ordered[index - 1]), blocks.get(ordered[index + 1])
            if before is not None and before == after:
                training_keys[key] = f"{_BACKBONE}/layer_with_weights-{layers[before]}/{_POSITION}{VALUE}"
            continue
        else:
            continue
        path = _attributes(within)
        if path is not None:
            training_keys[key] = f"{layer}/{path}{VALUE}"
    return training_keys
