"""The resolver `${local_path:...}` of conf/: the local path in a value that DVC can watch. Hydra imports this module itself."""

from pathlib import Path

from omegaconf import OmegaConf

UNCHANGING = "numeric.lock"  # a dependency of embed and finetune anyway, where there is nothing to watch


def local_path(value: str) -> str:
    """The file or folder that `value` names, if it exists: DVC runs dependent stages again when its content changes.

    For a checkpoint's prefix it is the folder. `~` is expanded here, because DVC does not.
    """
    path = Path(value).expanduser()
    if path.exists():
        return str(path)
    return str(path.parent) if any(path.parent.glob(f"{path.name}.*")) else UNCHANGING


OmegaConf.register_new_resolver("local_path", local_path, replace=True)
