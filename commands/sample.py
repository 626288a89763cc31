"""Renders `data/sample.zip`, the default data set: six classes that only motion distinguishes.

A regular pattern of objects drifts over a still background, in one of six directions, 60 degrees apart. Invariants:

- **Neither a frame nor a set of frames without their order determines the class.** A scene has seven pictures, drawn before any
  class is chosen. Its six clips, one per class, show the same seven pictures in every seven frames, starting with the same one;
  only their order differs. So a classifier of single frames, or of shuffled ones, is right once in six.
- **The motion is steady.** From each frame to the next the whole pattern moves by the same step in its class's direction.
- **Nothing else differs.** Scenes do not depend on classes; the codec encodes each frame by itself (motion JPEG), so a picture
  looks the same whatever precedes it; and `FLIP` gives the class of a mirrored clip.

How both can hold: let e0 ... e5 be the six steps, e0 to the right. The objects sit on the lattice that 2 e0 + e1 and
2 e1 + e2 span. On it e1 = e0 + e2 is the same shift as 5 e0, e2 as 4 e0, and so on: every step is a whole number of steps to
the right, from 1 to 6, and seven steps to the right leave the pattern as it was. Seven is prime, so that repeating any of the
six steps runs through all seven pictures. The mirrored lattice (2 e0 + e5 ...) does the same; each clip has one or the other.

Scenes are grouped as in UCF-101: background and object belong to the group; speed, slant and positions to the clip. A view of
7, 8, 14 or 15 frames at `FPS` frames per second is the same set of frames in every class; `conf/data/sample.yaml` uses 8.
"""

import argparse
import functools
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.console import STARTS_OVER, UserError, progress, run_command, say
from pipeline.files import atomic_file

OUTPUT = Path("data/sample.zip")
SEED = 101
SIDE = 64  # pixels
FPS = 5  # the rate of sampling, so that each sampled frame shows one picture and none is left out
PERIOD = 7  # pictures of a scene
FRAMES = 2 * PERIOD + 1  # so that views of 8 frames can start at any picture, and the first and the last start alike
GROUPS = 25  # as in UCF-101, whose folds test groups 1-7, 8-14 and 15-21
CLIPS = 2  # per class and group
QUALITY = 25  # of the JPEG frames, on OpenCV's scale of 0-100: about 30 dB here, 1.1 kB a frame
BLUR = 2.0  # pixels over which an object's edge fades: softer than pixels, and much smaller files

# By angle, in steps of 60 degrees from the right; y points down, so that angles grow clockwise.
DIRECTIONS = ("Right", "DownRight", "DownLeft", "Left", "UpLeft", "UpRight")
CLASSES = tuple(sorted(DIRECTIONS))
FLIP = {
    "DownLeft": "DownRight",
    "DownRight": "DownLeft",
    "Left": "Right",
    "Right": "Left",
    "UpLeft": "UpRight",
    "UpRight": "UpLeft",
}
# The number of steps to the right that shift the pattern like one step in each of DIRECTIONS, by the lattice's handedness.
STEPS = {1: (1, 5, 4, 6, 2, 3), -1: (1, 3, 2, 6, 4, 5)}

ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Scene:
    """What all clips of a group have in common."""

    background: np.ndarray  # (SIDE, SIDE, 3) float64, RGB, 0-255
    shape: int  # see `_distance`
    colour: np.ndarray  # (3,) float64, RGB, 0-255
    radius: float  # of an object, as a fraction of the step


@dataclass(frozen=True)
class Clip:
    """What six clips of a group, one per class, have in common: the pictures before they are ordered."""

    pictures: np.ndarray  # (PERIOD, SIDE, SIDE, 3) uint8, RGB; each one step to the right of the one before
    hand: int  # 1 or -1: handedness of the lattice
    step: np.ndarray  # (2,) float64: x and y of the step to the right, pixels


def member_name(name: str, group: int, clip: int) -> str:
    """The clip's name in the archive, in UCF-101's pattern."""
    return f"sample/v_{name}_g{group:02d}_c{clip:02d}.avi"


def draw_scene(group: int) -> Scene:
    """The background and the object of a group."""
    random = np.random.default_rng([SEED, group])
    coarse = random.uniform(40, 100, size=(3, 3, 3)).astype(np.float32)
    angle, wave = random.uniform(0, np.pi), random.uniform(12, 24)
    y, x = np.mgrid[:SIDE, :SIDE]
    stripes = 8 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / wave)
    hsv = np.array([[[random.uniform(0, 180), random.uniform(30, 200), random.uniform(200, 255)]]])
    return Scene(
        background=cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) + stripes[..., None],
        shape=int(random.integers(4)),
        colour=cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64),
        radius=random.uniform(0.5, 0.7),
    )


def _distance(shape: int, dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    """Signed distance in pixels to the outline of a disc, a square, a diamond or a plus; negative inside."""
    x, y = np.abs(dx), np.abs(dy)
    if shape == 0:
        return np.hypot(x, y) - radius
    if shape == 1:
        return np.maximum(x, y) - 0.9 * radius
    if shape == 2:
        return (x + y - 1.3 * radius) / np.sqrt(2)
    return np.maximum(np.maximum(x, y) - 1.1 * radius, np.minimum(x, y) - 0.4 * radius)


def _rotated(vector: np.ndarray, sixths: int) -> np.ndarray:
    """`vector` rotated clockwise by `sixths` times 60 degrees."""
    cosine, sine = np.cos(sixths * np.pi / 3), np.sin(sixths * np.pi / 3)
    return np.array([[cosine, -sine], [sine, cosine]]) @ vector


def render_pictures(group: int, clip: int) -> Clip:
    """The seven pictures of a scene."""
    scene = draw_scene(group)
    random = np.random.default_rng([SEED, group, clip])
    length, slant = random.uniform(7.5, 9.5), random.uniform(-0.15, 0.15)
    hand = int(random.choice([-1, 1]))
    step = length * np.array([np.cos(slant), np.sin(slant)])
    first = 2 * step + _rotated(step, hand)
    lattice = np.array([first, _rotated(first, hand)])
    many = np.arange(-12, 13)  # enough to cover the frame from any corner
    points = np.stack(np.meshgrid(many, many), axis=-1).reshape(-1, 2) + random.uniform(0, 1, size=2)  # with a random phase

    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    pictures = np.repeat(scene.background[None], PERIOD, axis=0)
    for index, picture in enumerate(pictures):
        centres = points @ lattice + index * step
        for cx, cy in centres[((centres > -length) & (centres < SIDE + length)).all(axis=1)]:
            distance = _distance(scene.shape, x - cx, y - cy, scene.radius * length)
            cover = np.clip(0.5 - distance / BLUR, 0, 1)[..., None]
            picture += cover * (scene.colour - picture)
    return Clip(np.clip(np.rint(pictures), 0, 255).astype(np.uint8), hand, step)


def order_pictures(name: str, hand: int) -> np.ndarray:
    """The order, (FRAMES,) int, in which class `name` shows the pictures; picture 0 comes first in every class."""
    return STEPS[hand][DIRECTIONS.index(name)] * np.arange(FRAMES) % PERIOD


def write_video(path: Path, frames: np.ndarray) -> None:
    """Writes RGB frames (T, SIDE, SIDE, 3) uint8 as motion JPEG in an AVI, each frame encoded by itself."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), FPS, (SIDE, SIDE))
    if not (writer.isOpened() and writer.set(cv2.VIDEOWRITER_PROP_QUALITY, QUALITY)):  # the constructor ignores it
        message = f"{path}: this OpenCV ({cv2.__version__}) cannot write motion JPEG"
        raise UserError(message, advice="install opencv-python-headless")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def run(output: Path) -> None:
    """Writes the archive: for each class, group and clip a member `member_name`, sorted; the same bytes each time."""
    members = [(name, group, clip) for name in CLASSES for group in range(1, GROUPS + 1) for clip in range(1, CLIPS + 1)]
    rendered = functools.cache(render_pictures)
    with atomic_file(output) as part, tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(part, "w") as archive:
        video = Path(folder) / "clip.avi"
        for name, group, clip in progress(members, describe="render", unit="clip"):
            scene = rendered(group, clip)
            write_video(video, scene.pictures[order_pictures(name, scene.hand)])
            info = zipfile.ZipInfo(member_name(name, group, clip), ZIP_TIME)
            info.external_attr = 0o644 << 16
            archive.writestr(info, video.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=9)
    say(f"{output}: {len(members)} clips, {output.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m commands.sample", description="Render the default data set.")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the archive to write (default: %(default)s)")
    run(parser.parse_args().output)


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
