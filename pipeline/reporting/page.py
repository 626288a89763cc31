"""The page: what the numbers mean in plain words, and one self-contained HTML file.

Invariants: the page needs nothing but itself (figures inside, no script or font from elsewhere), every name from the data
is escaped, and credentials inside addresses are left out.
"""

import base64
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.artifacts import RunRecord, Scores
from pipeline.console import without_credentials
from pipeline.params import Params
from pipeline.reporting.tables import Leaks
from pipeline.tracking.environment import differences, environment, shown

# Below about this many clusters, resampling them gives intervals that are too narrow (Cameron, Gelbach & Miller 2008).
FEW_GROUPS = 30


@dataclass(frozen=True)
class Picture:
    """A figure of the page."""

    file: str
    alt: str
    content: bytes  # PNG

    @property
    def source(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.content).decode()

    @property
    def width(self) -> int:
        """Pixels, from the PNG header (bytes 16-19, big-endian)."""
        return struct.unpack(">I", self.content[16:20])[0]


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or value != value else f"{100 * value:.{digits}f}%"


def count(value: int, noun: str) -> str:
    """`1 clip`, `1,234 clips`, `2 classes`."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{value:,} {noun if value == 1 else plural}"


def _shareable(value: Any) -> Any:
    """Parameters without the credentials that addresses among them may carry."""
    if isinstance(value, dict):
        return {key: _shareable(item) for key, item in value.items()}
    return without_credentials(value) if isinstance(value, str) else value


def certainty(test: Scores, confidence: float, resamples: int) -> list[str]:
    """How sure the test top-1 is, in sentences a reader can act on: the interval and what it leaves out."""
    level, groups, clips = f"{100 * confidence:g}%", test.groups, test.clips
    if test.top1_low is None:
        sentences = ["All test clips come from one group, so there is no telling how the score would vary: it has no interval."]
    elif test.top1 == 1:
        bound = 1 - (1 - confidence) ** (1 / groups)
        sentences = [
            "No test clip was mistaken, so resampling gives an interval without width; that is not certainty. "
            f"With {count(groups, 'group')} all right, up to {percent(bound)} of new groups could still hold mistakes "
            f"(at {level} confidence)."
        ]
    else:
        sentences = [
            f"We are {level} sure, as far as these clips can tell, that the accuracy on new videos of the same kind lies between "
            f"{percent(test.top1_low)} and {percent(test.top1_high)}: that is how far the score moved when the {groups:,} "
            f"test groups were drawn again {resamples:,} times. Clips of one group stand or fall together, so groups are drawn, "
            "not clips."
        ]
    sentences.append("The interval covers which videos were tested. It does not cover training again with another seed.")
    if groups == clips and clips > 1:
        sentences.append("Every clip is its own group here: if several show one person or scene, the interval is too narrow.")
    if 1 < groups < FEW_GROUPS:
        sentences.append(f"With {count(groups, 'group')} the interval is probably too narrow; {FEW_GROUPS} or more are better.")
    return sentences


def warnings(leaks: Leaks) -> list[str]:
    """What makes the test scores too good, in sentences; empty when training and test share nothing."""
    sentences = []
    if leaks.groups:
        sentences.append(
            f"Do not trust this score for new scenes: {len(leaks.groups):,} of {count(leaks.test_groups, 'test group')} "
            f"({count(leaks.test_clips, 'clip')}) also have clips in training or validation, so the test partly asks what was "
            "memorised. data.split.scheme=grouped or official avoids that."
        )
    if leaks.duplicates:
        sentences.append(
            f"{count(len(leaks.duplicates), 'pair')} of byte-identical clips lie on both sides of the split: "
            "the test repeats what was trained or chosen on."
        )
    return sentences


class MadeWith(NamedTuple):
    """What the page says of software and machine.

    trained: name and value of what decides the numbers, of training; None where training noted nothing. report: the same of the
    report. differences: (name, of training, of the report) of whatever is not the same.
    """

    trained: dict[str, str] | None
    report: dict[str, str]
    differences: list[tuple[str, str, str]]


def made_with(run: RunRecord) -> MadeWith:
    trained, here = run.environment, environment()
    if trained is None:
        return MadeWith(None, shown(here), [])
    return MadeWith(shown(trained), shown(here), differences(trained, here))


def configuration(params: Params) -> str:
    """The whole of params.yaml as YAML text."""
    return yaml.safe_dump(_shareable(params.model_dump(mode="json")), sort_keys=False, allow_unicode=True, width=120)


def page_templates(folder: Path) -> Environment:
    """The templates in `folder`: what comes from the data is escaped, and jinja2.UndefinedError names what was not given."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(**content) -> str:
    """The HTML of page.html.j2; raises jinja2.UndefinedError where the template needs something that was not given."""
    templates = page_templates(Path(__file__).parent)
    templates.filters |= {"percent": percent, "without_credentials": without_credentials}
    templates.globals["count"] = count
    return templates.get_template("page.html.j2").render(**content)
