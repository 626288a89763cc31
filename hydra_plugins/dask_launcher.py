"""Hydra's side of `hydra/launcher=dask`; the work is done in pipeline/sweeping/dask_launcher.py.

Here because Hydra takes plugins only from the namespace package `hydra_plugins`, which must have no `__init__.py`. Whatever uses
Hydra in this folder imports this module, DVC included, so it imports nothing of the pipeline before it is used.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class DaskLauncher(Launcher):
    """Named in conf/hydra/launcher/dask.yaml, where its settings are explained."""

    def __init__(self, address: str | None, n_jobs: int):
        self.address, self.n_jobs = address, n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.shared: tuple[Any, ...] = (hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from pipeline.sweeping import dask_launcher

        return dask_launcher.launch(
            self.address, self.n_jobs, *self.shared, [list(one) for one in job_overrides], initial_job_idx
        )
