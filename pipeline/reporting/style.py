"""The look of all figures, here and elsewhere, and their encoding as PNG.

Invariants: equal input gives equal bytes (own style and fonts, no dates or versions); the user's matplotlibrc and display have no
effect; class names are shown as they are (any script, no TeX).
"""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from pipeline.reporting.fonts import families, families_of, warn_of_missing

# From the colour-blind-safe set of Okabe & Ito (2008), "Color Universal Design".
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6b7280"

STYLE = {
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
def drawing(fonts: Sequence[str] = (), **settings: object) -> Iterator[None]:
    """Applies the style to what is drawn inside.

    fonts: families for its text; by default those for text in any script, which are slow. settings: of Matplotlib, in addition,
    with dots as double underscores.
    """
    extra = {"font.family": list(fonts or families())} | {name.replace("__", "."): value for name, value in settings.items()}
    with matplotlib.style.context(["default", STYLE | extra]), warnings.catch_warnings():
        # `warn_of_missing` reports these.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font", category=UserWarning)
        yield


def styled(draw: Callable[..., Figure], names: Callable[..., Iterable[str]] | None = None) -> Callable[..., Figure]:
    """Decorates a function that draws a figure, so that it draws it in this style.

    names: of the arguments, those that the figure shows, which decide its fonts; by default all fonts are there. A figure with
    other text that needs further fonts is drawn again. Not every figure is left to that: Matplotlib takes seconds to measure 100
    names in boxes.
    """

    @wraps(draw)
    def draw_in_style(*args, **options) -> Figure:
        fonts = families() if names is None else families_of(names(*args, **options))
        with drawing(fonts):
            figure = draw(*args, **options)
        if set(families_of(_texts(figure))) <= set(fonts):
            return figure
        with drawing():
            return draw(*args, **options)

    return draw_in_style


def check_characters(figure: Figure) -> None:
    """Warns the user once of each character in the figure that no font has."""
    warn_of_missing(_texts(figure))


def _texts(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text)}


def png(figure: Figure) -> bytes:
    """Encodes the figure as PNG; equal figures give equal bytes."""
    texts = _texts(figure)
    warn_of_missing(texts)
    with drawing(families_of(texts)), io.BytesIO() as file:
        FigureCanvasAgg(figure).print_figure(file, format="png", dpi="figure", metadata={"Software": None})
        return file.getvalue()
