"""CPU, memory, disk, network and (with nvidia-ml-py installed) GPU use of a training, as MLflow metrics `system/...`.

Invariants: they are logged only once the run has a metric of its own, or training has ended, because MLflow's page that compares
runs picks the metric that was logged first. Their steps are negative, because MLflow copies to a model the metrics that its run
has at the model's step, an epoch.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.console import say

if TYPE_CHECKING:
    from mlflow import MlflowClient

SAMPLING_SECONDS = 5  # short, for runs of a minute
FIRST_STEP = -1_000_000  # two months of samples before step 0


@contextmanager
def system_metrics(client: "MlflowClient", run_id: str, has_metrics: Callable[[], bool]) -> Iterator[None]:
    """Samples in a thread until the block ends. has_metrics: whether the run has metrics of its own."""
    from mlflow.entities import Metric
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    class Monitor(SystemMetricsMonitor):
        """MLflow's, except for when and at which steps it logs."""

        def __init__(self) -> None:
            super().__init__(run_id, sampling_interval=SAMPLING_SECONDS, tracking_uri=client.tracking_uri)
            self.held: list[Metric] = []
            self.step = FIRST_STEP

        def publish_metrics(self, metrics: dict[str, float]) -> None:
            now = int(time.time() * 1000)
            prefix = self._metrics_prefix + (f"{self.node_id}/" if self.node_id else "")
            self.held += [Metric(prefix + name, value, now, self.step) for name, value in metrics.items()]
            self.step += 1
            for monitor in self.monitors:
                monitor.clear_metrics()
            if has_metrics():
                self.log_held()

        def log_held(self) -> None:
            for start in range(0, len(self.held), 1000):  # the most in a request
                client.log_batch(run_id, metrics=self.held[start : start + 1000])
            self.held = []

    monitor = Monitor()
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
        try:
            monitor.log_held()
        except Exception as error:  # must not hide the error that ended the training
            say(f"the last system metrics could not be logged: {' '.join(str(error).split())[:300]}")
