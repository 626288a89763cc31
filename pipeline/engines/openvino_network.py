"""Runs a network in OpenVINO on the processor.

Invariants: every view is computed by itself on one thread, so a view's result depends neither on the views next to it nor on the
number of threads; several views are computed at once, one on each core. Single threads also waste less than several that share
a view (a third less processor time for A0 on two cores).
"""

from collections.abc import Callable

import joblib
import numpy as np
import openvino

from pipeline.engines.openvino_core import compile_graph


class OpenvinoNetwork:
    """See `engine.Network`. A graph is compiled for each number of frames that occurs.

    Args: see `engine.NetworkFiles` and `engine.open_network`. count: None: no graph is compiled before the first views come.
    """

    def __init__(
        self,
        graph: Callable[[int], openvino.Model],
        top: Callable[[np.ndarray], np.ndarray] | None,
        count: int | None = None,
        threads: int | None = None,
    ):
        self._graph, self._top, self._threads = graph, top, threads or joblib.cpu_count()
        self.key = {"openvino": openvino.__version__}
        self._queues = {} if count is None else {count: self._compile(count)}

    def _compile(self, count: int) -> openvino.AsyncInferQueue:
        return openvino.AsyncInferQueue(compile_graph(self._graph(count), self._threads), self._threads)

    def __call__(self, views: np.ndarray) -> np.ndarray:
        views = np.ascontiguousarray(views, np.float32)
        count = views.shape[1]
        if count not in self._queues:
            self._queues[count] = self._compile(count)
        queue, results = self._queues[count], [None] * len(views)

        def keep(request: openvino.InferRequest, number: int) -> None:
            results[number] = request.get_output_tensor().data[0].copy()

        queue.set_callback(keep)
        for number in range(len(views)):
            queue.start_async({0: views[number : number + 1]}, number, share_inputs=True)
        queue.wait_all()
        computed = np.stack(results)
        return computed if self._top is None else self._top(computed)
