"""The job that both ways do, composed from `conf/`: two epochs on a frozen backbone, one view a clip, then an evaluation."""

from pathlib import Path

from pipeline.params import Params, parse_params

CONF = Path(__file__).resolve().parent.parent / "conf"
JOB = {  # where it differs from the defaults of conf/
    "data": {"split": {"scheme": "grouped", "validation": 0.1}},
    "model": {"convolutions": "fast"},
    "embed": {"views": 1},
    "finetune": {"epochs": 2, "batch_size": 8},
    "evaluate": {"views": 1, "baseline_clips": 0},
}


def compose_job(clips: Path, *, model: str, weights: str, count: int, size: int | None) -> Params:
    """The pipeline's parameters for the job.

    Args:
      clips: a folder of `<class>/<video>` or of videos in UCF-101's names.
      weights: as model.weights.
      count: frames of a view.
      size: pixels of a side; None: the model's own.
    """
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", overrides=["data=folder", "data.split.duplicates=ignore", "finetune=head", f"model={model}"])
    chosen = {"data": {"folder": str(clips)}, "model": {"weights": weights}, "frames": {"count": count}}
    if size is not None:
        chosen["frames"]["size"] = size
    return parse_params(OmegaConf.to_container(OmegaConf.merge(config, JOB, chosen), resolve=True), "conf/ for the benchmark")
