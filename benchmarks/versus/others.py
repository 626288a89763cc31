"""A network of another library, used as the library's documentation shows, with random weights.

`python -m benchmarks.versus.others NETWORK BATCH VIDEO...` prints the costs of one round as JSON. Frames are decoded by PyAV and
prepared by the network's published transforms; networks run as written, in float32, with AdamW for training.
"""

import json
import random
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.versus.clock import cost_of, peak_memory

if TYPE_CHECKING:
    import torch

THREADS = 2
CLASSES = 400


class Network(NamedTuple):
    """Published input: `frames` frames, every `step`th of 25 to 30 a second, `size` pixels a side.

    prepare: uint8 (frames, height, width, 3) -> float32 tensor of a view. logits: (batch, CLASSES) of a batch of views.
    head: the part trained alone.
    """

    model: "torch.nn.Module"
    head: "torch.nn.Module"
    frames: int
    step: int
    size: int
    prepare: Callable[[np.ndarray], "torch.Tensor"]
    logits: Callable[["torch.Tensor"], "torch.Tensor"]


def _videomae() -> Network:
    """VideoMAE-base, 16 frames x 4: https://huggingface.co/docs/transformers/model_doc/videomae."""
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor

    model = VideoMAEForVideoClassification(VideoMAEConfig(num_labels=CLASSES, use_mean_pooling=True))
    processor = VideoMAEImageProcessor()

    def prepare(frames: np.ndarray) -> "torch.Tensor":
        return processor(list(frames), return_tensors="pt")["pixel_values"][0]

    return Network(model, model.classifier, 16, 4, 224, prepare, lambda views: model(pixel_values=views).logits)


def _torchvision(builder: str, weights: str, head: str, frames: int, step: int, size: int) -> Network:
    """https://docs.pytorch.org/vision/stable/models.html#video-classification; the transforms are those of the weights."""
    import torch
    from torchvision.models import get_model, get_weight

    model, transforms = get_model(builder, weights=None, num_classes=CLASSES), get_weight(weights).transforms()

    def prepare(clip: np.ndarray) -> torch.Tensor:
        return transforms(torch.from_numpy(clip).permute(0, 3, 1, 2))

    return Network(model, getattr(model, head), frames, step, size, prepare, model)


def _x3d_s() -> Network:
    """PyTorchVideo's X3D-S, tested at 182 pixels: https://pytorch.org/hub/facebookresearch_pytorchvideo_x3d."""
    import torch
    from pytorchvideo.models.x3d import create_x3d
    from torchvision.transforms import v2

    model = create_x3d(input_clip_length=13, input_crop_size=182, model_num_class=CLASSES, head_activation=None)
    scaled = [v2.Resize(182), v2.CenterCrop(182), v2.ToDtype(torch.float32, scale=True)]
    transforms = v2.Compose([*scaled, v2.Normalize([0.45] * 3, [0.225] * 3)])

    def prepare(clip: np.ndarray) -> torch.Tensor:
        return transforms(torch.from_numpy(clip).permute(0, 3, 1, 2)).transpose(0, 1)

    return Network(model, model.blocks[-1].proj, 13, 6, 182, prepare, model)


def _s3d() -> Network:
    return _torchvision("s3d", "S3D_Weights.KINETICS400_V1", "classifier", 128, 2, 224)


def _mvit_v2_s() -> Network:
    return _torchvision("mvit_v2_s", "MViT_V2_S_Weights.KINETICS400_V1", "head", 16, 4, 224)


def _r2plus1d_18() -> Network:
    return _torchvision("r2plus1d_18", "R2Plus1D_18_Weights.KINETICS400_V1", "fc", 16, 2, 112)


BUILDERS = {"videomae": _videomae, "s3d": _s3d, "mvit_v2_s": _mvit_v2_s, "r2plus1d_18": _r2plus1d_18, "x3d_s": _x3d_s}


def view_indices(total: int, frames: int, step: int, rng: random.Random) -> np.ndarray:
    """`frames` evenly spaced frame numbers of `total`, from a random start: every `step`th, or closer where the clip is short."""
    span = min(total, frames * step)
    return np.linspace(start := rng.randint(0, total - span), start + span - 1, frames).astype(int)


def decode(path: str, frames: int, step: int, rng: random.Random) -> np.ndarray:
    """A random view of a video, uint8 (frames, height, width, 3), by the loop of Transformers' documentation."""
    import av

    with av.open(path) as container:
        indices = view_indices(container.streams.video[0].frames, frames, step, rng)
        wanted, found = set(indices.tolist()), {}
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                found[number] = frame.to_ndarray(format="rgb24")
            if number == indices[-1]:
                break
    last = max(found)  # a header may promise more frames than there are
    return np.stack([found[min(number, last)] for number in indices.tolist()])


def measure(name: str, batch: int, videos: list[str]) -> dict:
    """One round: see `benchmarks.versus.results.Round`."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    network, rng = BUILDERS[name](), random.Random(1)

    def read() -> list[torch.Tensor]:
        return [network.prepare(decode(path, network.frames, network.step, rng)) for path in videos]

    views, labels = torch.stack((read() * batch)[:batch]), torch.arange(batch)
    costs = {"decode": [part / len(videos) for part in cost_of(read)]}

    def forward() -> None:
        with torch.inference_mode():
            network.logits(views)

    def step_of(parameters: list[torch.nn.Parameter]) -> Callable[[], None]:
        network.model.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW(parameters)

        def step() -> None:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network.logits(views), labels).backward()
            optimizer.step()

        return step

    network.model.eval()
    costs["forward"] = [part / batch for part in cost_of(forward)]
    inference_memory = peak_memory()
    network.model.train()
    costs["head_step"] = [part / batch for part in cost_of(step_of(list(network.head.parameters())))]
    costs["whole_step"] = [part / batch for part in cost_of(step_of(list(network.model.parameters())))]
    parameters = sum(one.numel() for one in network.model.parameters())
    shape = {"frames": network.frames, "size": network.size, "parameters": parameters}
    return {"costs": costs, **shape, "inference_memory": inference_memory, "training_memory": peak_memory()}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), sys.argv[3:])))
