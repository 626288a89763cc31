"""The events of a source as one self-contained HTML page: lanes to zoom and scroll, thumbnails, and a table."""

import base64
import io
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from pipeline.events.event import clock_time
from pipeline.events.still import class_colours
from pipeline.events.timeline import EVENT_THUMBNAILS, Timeline
from pipeline.reporting.templates import page_templates

_FOLDER = Path(__file__).parent


def render_page(timeline: Timeline) -> str:
    """The page's HTML; it loads nothing."""
    templates = page_templates(_FOLDER)
    templates.filters["clock"] = clock_time
    urls = {f"{time:.3f}": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" for time, jpeg in timeline.jpegs.items()}
    lanes = {name: [] for name in timeline.classes}
    for k, event in enumerate(timeline.events):
        lanes[event.class_name].append((k, event))
    return templates.get_template("page.html.j2").render(
        timeline=timeline,
        lanes=lanes,
        colours=class_colours(timeline),
        aspect=_aspect(timeline),
        without=f"No picture: only the {EVENT_THUMBNAILS} most confident events have one, so that this page stays small.",
        urls=urls,
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup((_FOLDER / "page.js").read_text(encoding="utf-8")),
    )


def _aspect(timeline: Timeline) -> float:
    """Width over height of the thumbnails."""
    if not timeline.axis:
        return 1.0
    with Image.open(io.BytesIO(timeline.jpegs[timeline.axis[0]])) as image:
        return image.width / image.height
