"""The parameters in which the compared models differ."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.comparison.results import ModelResults

SPEED = ("speed", "cluster", "tracking", "report")  # sections that change no prediction


class DifferingParameter(NamedTuple):
    """values: of each model, None where it is not recorded."""

    name: str
    values: tuple[str | None, ...]


def differing_parameters(models: Sequence[ModelResults]) -> list[DifferingParameter]:
    """Those that change predictions first. A model that records nothing of a section says nothing about its parameters."""
    sections = [{name.split(".")[0] for name in model.params} for model in models]
    names = sorted({name for model in models for name in model.params}, key=lambda name: (name.split(".")[0] in SPEED, name))
    found = []
    for name in names:
        section = name.split(".")[0]
        values = tuple(model.params.get(name) for model in models)
        recorded = {value for value, known in zip(values, sections, strict=True) if section in known}
        if len(recorded) > 1:
            found.append(DifferingParameter(name, values))
    return found
