"""Which variable of a MoViNet classifier each variable of a SavedModel is, told by its name.

A training checkpoint holds each variable under its path in the object (`model/layer_with_weights-0/layer_with_weights-3/
_expansion/_conv/kernel`). The hub's SavedModels, and what others made of them, hold numbered lists (`variables/17`), whose order
changed between the versions of Keras and the Model Garden; only names such as `b0/l2/bneck/expansion/conv3d/kernel` tell which
is which. They too changed: blocks were `b0/l2`, then `block0_layer2`; convolutions are numbered as often as a program built them
(`conv2d_3`); batch norms of stream networks lie inside the convolution's scope or beside it.
"""

import re
from collections.abc import Mapping

from pipeline.models.movinet.network.weights.bundle import VALUE

_BACKBONE, _HEAD = "model/layer_with_weights-0", "model/layer_with_weights-1"
_BLOCK = re.compile(r"(?:b(\d+)/l(\d+)|block(\d+)_layer(\d+))/(.+)")
_CONVOLUTION = re.compile(r"(?:depthwise_)?conv[23]d(_temporal)?(?:_\d+)?")
_NUMBERED = re.compile(r"(.*?)(\d+)")
_ATTRIBUTES = {  # name -> attribute of the object that holds it; what a scope adds to the name alone is empty
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
    """The variable's name where a wrapper has made it an attribute: `.../b0.Sl0.Sscale:0/.ATTRIBUTES/...` is `b0/l0/scale`."""
    last = key.removesuffix(VALUE).rpartition("/")[2]
    return last.replace(".S", "/").replace("..", ".").removesuffix(":0")


def _attributes(name: str) -> str | None:
    """The path below a layer, of a name below that layer's; None where it is not one of MoViNet's."""
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
    """The key in a training checkpoint for each variable of a SavedModel, by its key there; unknown names are left out.

    Args:
      names: of all variables, by their keys in the SavedModel.
    """
    blocks = {}  # SavedModel's key -> (block, layer)
    for key, name in names.items():
        if match := _BLOCK.fullmatch(name):
            blocks[key] = (int(match[1] or match[3]), int(match[2] or match[4]))
    layers = {block: number for number, block in enumerate(sorted(set(blocks.values())), start=1)}  # 0 is the stem
    ordered = sorted(names, key=_order)
    found = {}
    for place, key in enumerate(ordered):
        name = names[key]
        if key in blocks:
            layer, below = f"{_BACKBONE}/layer_with_weights-{layers[blocks[key]]}", _BLOCK.fullmatch(name)[5]
        elif name.startswith("stem/"):
            layer, below = f"{_BACKBONE}/layer_with_weights-0", name.removeprefix("stem/")
        elif name.startswith("head/"):
            layer, below = f"{_BACKBONE}/layer_with_weights-{len(layers) + 1}", name.removeprefix("head/")
        elif match := re.fullmatch(r"classifier_head(?:_\d+)?/(.+)", name):
            layer, below = _HEAD, match[1]
        elif re.fullmatch(r"scale(_\d+)?", name) and 0 < place < len(ordered) - 1:
            # A positional encoding's scale is built outside of its block's scope. Lists hold each layer's variables together, and
            # this one in their midst, so that those before and after it are of the same block.
            before, after = blocks.get(ordered[place - 1]), blocks.get(ordered[place + 1])
            if before is not None and before == after:
                found[key] = f"{_BACKBONE}/layer_with_weights-{layers[before]}/{_POSITION}{VALUE}"
            continue
        else:
            continue
        path = _attributes(below)
        if path is not None:
            found[key] = f"{layer}/{path}{VALUE}"
    return found
