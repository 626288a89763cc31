"""The resolver `${folds:...}` of conf/sweep: all values of data.split.fold. Hydra imports this module itself."""

from omegaconf import OmegaConf


def folds(scheme: str, number: int) -> str:
    """As a sweep takes them: 1,2,3 for UCF-101's official folds, 1 to `number` for data.split.scheme=folds."""
    return ",".join(str(fold) for fold in range(1, (number if scheme == "folds" else 3) + 1))


OmegaConf.register_new_resolver("folds", folds, replace=True)
