"""The look of all figures, here and elsewhere, and their encoding as PNG.

Invariants: equal input gives equal bytes (own style and fonts, no dates or versions); the user's matplotlibrc and display have no
effect; class names are shown as they are (any script, no TeX).
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from pipeline.reporting.fonts import families, warn_of_missing

# From the colour-blind-safe set of Okabe & Ito (2008), "Color Universal Design".
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6b7280"

STYLE = {
    "font.family": list(families()),
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9ca3af",
    "grid.color": "#e5e7eb",
    "legend.frameon": False,
    "text.parse_math": False,
    "figure.dpi": 130,
}


@contextmanager
def drawing(**settings: object) -> Iterator[None]:
    """Applies the style to what is drawn inside. settings: of Matplotlib, in addition, with dots as double underscores."""
    extra = {name.replace("__", "."): value for name, value in settings.items()}
    with matplotlib.style.context(["default", STYLE | extra]), warnings.catch_warnings():
        # `warn_of_missing` reports these.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font", category=UserWarning)
        yield


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorates a function that draws a figure, so that it draws it in this style."""

    @wraps(draw)
    def draw_in_style(*args, **options) -> Figure:
        with drawing():
            return draw(*args, **options)

    return draw_in_style


def check_characters(figure: Figure) -> None:
    """Warns the user once of each character in the figure that no font has."""
    warn_of_missing(text.get_text() for text in figure.findobj(Text))


def png(figure: Figure) -> bytes:
    """Encodes the figure as PNG; equal figures give equal bytes."""
    check_characters(figure)
    with drawing(), io.BytesIO() as file:
        FigureCanvasAgg(figure).print_figure(file, format="png", dpi="figure", metadata={"Software": None})
        return file.getvalue()
