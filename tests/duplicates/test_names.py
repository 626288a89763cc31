"""Names that look like those of copies."""

import pytest

from pipeline.duplicates.names import named_like_copies


@pytest.mark.parametrize(
    "copy",
    ["Copy of x.mp4", "copy (2) of x.mp4", "x (1).mp4", "x(12).avi", "x_copy.mp4", "x - Copy.mp4", "x copy 2.mp4",
     "x - Copy (3).mp4", "X_flipped.mp4", "x-mirrored.mkv", "x_hflip.mp4", "x.trimmed.mp4"],
)  # fmt: skip
def test_marks_of_copies(copy):
    assert named_like_copies(["run/y.mp4", "run/x.mp4", f"run/{copy}"]) == [("run/x.mp4", f"run/{copy}")]


def test_other_names_and_folders_are_not():
    names = ["a/x.mp4", "b/x (1).mp4", "a/x2.mp4", "a/x_2.mp4", "a/copycat.mp4", "a/x_c02.mp4", "a/y (1).mp4", "a/photocopy.mp4"]
    assert named_like_copies(names) == []
