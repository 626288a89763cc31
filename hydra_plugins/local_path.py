"""The resolver `${local_path:...}` of conf/: what of a value DVC can watch. Hydra imports this module on its own."""

from pathlib import Path

from omegaconf import OmegaConf

UNCHANGING = "stages/embed.py"  # a dependency anyway, where there is nothing to watch


def local_path(value: str) -> str:
    """The file or folder that `value` names, if it is there: DVC runs what depends on it again when its content changes.

    Of a checkpoint's prefix it is the folder. DVC does not expand `~`, so that is done here.
    """
    path = Path(value).expanduser()
    if path.exists():
        return str(path)
    return str(path.parent) if any(path.parent.glob(f"{path.name}.*")) else UNCHANGING


OmegaConf.register_new_resolver("local_path", local_path, replace=True)
