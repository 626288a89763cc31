"""The values that decide what an event is, and where they come from: the options, the model's validation clips, or constants."""

from typing import NamedTuple

from pipeline.console import UserError
from pipeline.events.detection import DetectionSettings
from pipeline.inference.models import Predictor

HIGH = 0.5  # of a model that states no threshold
LOW = 0.9  # of `high`
SMOOTH = 0.5  # of a window; this and the next were chosen on joined validation clips of UCF-101 (docs/events.md)
SHORTEST = 0.25  # of the median length of the validation clips, or else of a window
GAP = 0.25


class Options(NamedTuple):
    """What the user asked for; None: the default. Probabilities and seconds."""

    high: float | None = None
    low: float | None = None
    smooth: float | None = None
    shortest: float | None = None
    gap: float | None = None


def choose_settings(predictor: Predictor, window: float, options: Options) -> tuple[DetectionSettings, str]:
    """The settings, and a line that says which they are and where they come from. window: seconds. Raises UserError."""
    decision = predictor.decision
    length = window if decision is None else decision.clip_seconds
    high = options.high if options.high is not None else HIGH if decision is None else decision.threshold
    low = options.low if options.low is not None else min(LOW * high, high)
    if not 0 < low <= high:
        message = f"--low {low:g} and --high {high:g}: --low has to be above 0 and at most --high"
        raise UserError(message, advice="an event begins at --high and lasts while its probability is at least --low")
    smooth, shortest, gap = (
        default if given is None else given
        for given, default in (
            (options.smooth, SMOOTH * window),
            (options.shortest, SHORTEST * length),
            (options.gap, GAP * length),
        )
    )
    settings = DetectionSettings(high, low, smooth, shortest, gap)
    values = f"--high {high:.3g} --low {low:.3g} --smooth {smooth:.2g} --shortest {shortest:.2g} --gap {gap:.2g}"
    if all(value is not None for value in options):
        origin = "as given"
    elif decision is None:
        origin = "the model states no threshold, so what is not given is a general default"
    else:
        origin = f"what is not given comes from its validation clips (threshold {decision.threshold:.3g}, {length:.1f} s long)"
    return settings, f"{values} ({origin})"
