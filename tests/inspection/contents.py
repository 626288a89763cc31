"""Videos, classes and whole inspections as tests of findings, page and summary need them."""

from pipeline.inspection.content import ClassSummary, Duplicates, Inspection, Suspicion, Video


def video(path: str, **changes) -> Video:
    """A usable video of the class that its folder names. suspicions: kinds."""
    values = {"path": path, "label": path.split("/")[0], "group": path, "split": None, "bytes": 1_000_000, "seconds": 4.0}
    values |= {"header_seconds": 4.0, "looked_at": 4.0, "width": 320, "height": 240, "fps": 25.0, "codec": "h264"}
    values |= {"motion": 50.0, "brightness": 90.0, **changes}
    values["suspicions"] = [Suspicion(kind=kind, text=f"it is {kind}") for kind in changes.get("suspicions", [])]
    return Video(**values)


def summary(label: str, clips: int = 10, groups: int = 5, splits: dict[str, int] | None = None) -> ClassSummary:
    return ClassSummary(
        label=label,
        clips=clips,
        seconds=4.0 * clips,
        median_seconds=4.0,
        share=0.5,
        groups=groups,
        bytes=1_000_000 * clips,
        splits=splits or {},
    )


def duplicates(*paths: str, kind: str = "mirrored") -> Duplicates:
    pairs = [{"first": paths[0], "second": path, "kind": kind, "score": 0.9} for path in paths[1:]]
    across = len({path.split("/")[0] for path in paths}) > 1
    return Duplicates(paths=list(paths), across_classes=across, pairs=pairs)


def inspection(videos: list[Video], **changes) -> Inspection:
    labels = sorted({one.label for one in videos})
    values = {
        "source": "/videos",
        "archive": False,
        "layout": "layout <class>/<video>",
        "recognised": True,
        "seconds": 4.0 * len(videos),
        "bytes": 1_000_000 * len(videos),
        "clips": sum(one.broken is None for one in videos),
        "unlabelled": 0,
        "grouped_by": "stem",
        "grouping": "every class has at least 3",
        "findings": [],
        "classes": [summary(label, sum(one.label == label for one in videos)) for label in labels],
        "group_candidates": [],
        "duplicates": [],
        "name_hints": [],
        "unused": [],
        "videos": videos,
        "next_steps": ["cp inspection/listing.csv /videos/listing.csv", "dvc exp run -S data=folder"],
    }
    return Inspection(**{**values, **changes})
