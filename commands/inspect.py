"""Inspects a folder or an archive of videos before training: what is in it, what is wrong with it, and a listing to train from.

Writes a page, a JSON file and a listing for `data.listing`. Changes nothing else. Exit status 0 also if there are problems.
"""

import argparse
from pathlib import Path
from typing import get_args

from pipeline.arguments import at_least, check_out
from pipeline.console import STARTS_OVER, UserError, run_command, without_credentials
from pipeline.files import atomic_folder, write_text
from pipeline.inspection.page import render
from pipeline.inspection.summary import summarise
from pipeline.inspection.survey import Asked, Inspected, inspect
from pipeline.inspection.suspicions import View
from pipeline.params import load_params
from pipeline.settings import Data
from pipeline.sources.kinds import open_source
from pipeline.sources.naming import is_video

OUT = Path("inspection")
WRITTEN = {"index.html", "inspection.json", "listing.csv"}


def chosen_source(data: Data, place: str | None, listing: str | None) -> Data:
    """The source to inspect: `place`, a folder or a zip, in place of the one in params.yaml; all of its classes."""
    changes: dict = {"num_classes": None, "classes": None, "background": None}
    if place is not None:
        place = place if "://" in place else str(Path(place).expanduser())
        is_archive = Path(place).is_file() or "://" in place
        if is_archive and is_video(place):
            raise UserError(f"{place}: is a video", advice="give the folder that holds it, or a zip of videos")
        changes |= {"folder": None if is_archive else place, "archive": place if is_archive else None, "listing": None}
        changes |= {"class_names": None, "watch": place}
    if listing is not None:
        changes["listing"] = listing
    data = data.model_copy(update=changes)
    if data.archive is not None and "://" in data.archive:
        message = f"{without_credentials(data.archive)} is remote, and an inspection decodes every video"
        raise UserError(message, advice="download the archive, e.g. with curl -O, and give its path")
    if data.listing is not None and data.folder is None:
        raise UserError(f"--listing {listing}: a listing needs a folder", advice="unpack the archive and give the folder")
    return data


def write(result: Inspected, out: Path) -> None:
    with atomic_folder(out.resolve()) as part:  # of a link, the folder that it leads to is replaced
        result.content.write(part / "inspection.json")
        write_text(part / "listing.csv", result.listing)
        write_text(part / "index.html", render(result.content, result.thumbnails))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m commands.inspect", description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", metavar="FOLDER|ZIP", help="what to inspect (default: the source in params.yaml)")
    parser.add_argument("--listing", metavar="CSV", help="inspect the videos that a listing names, with its labels and groups")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write, replaced as a whole (default: %(default)s)")
    parser.add_argument(
        "--group-by",
        choices=get_args(Asked),
        default="suggested",
        help="what gives the groups of the listing; suggested keeps those of the layout (default: %(default)s)",
    )
    parser.add_argument("--workers", type=at_least(1), help="processes (default: one per core)")
    parser.add_argument("--json", action="store_true", help="print the content of inspection.json instead of a summary")
    options = parser.parse_args()
    check_out(options.out, WRITTEN)
    params = load_params()
    data = chosen_source(params.data, options.source, options.listing)
    frames = params.frames
    view = View(frames.count / frames.fps, frames.fps, frames.size)
    with open_source(data, params.speed) as source:
        result = inspect(source, data, view, options.group_by, frames.image_rate, options.out, options.workers)
    write(result, options.out)
    print(result.content.model_dump_json(indent=2) if options.json else summarise(result.content, options.out))


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
