"""Runs the backbone on views, in this process or on the workers of a cluster.

Invariants: every batch has the same size, so that a view's features do not depend on how many others are computed with it; the
features are bitwise those of one process on the same kind of machine.
"""

import functools
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pipeline.cluster import Call, Workers
from pipeline.embedding.store import ViewFeatures
from pipeline.embedding.views import View, view_dataset
from pipeline.engines.engine import Network
from pipeline.training.datasets import ViewRecipe

CHUNK = 64  # views, approximately: tens of seconds of work for one call of a cluster, which is also what a killed worker loses
AHEAD = 2  # chunks in flight per thread of the cluster, so that no worker waits for the next one

_one_at_a_time = threading.Lock()  # in a worker with several threads: one batch uses all of them


def compute(network: Network, views: Sequence[View], recipe: ViewRecipe, batch: int) -> Iterator[list[ViewFeatures]]:
    """Yields the features of `views`, `batch` views at a time."""
    for block in view_dataset(views, recipe).batch(batch).prefetch(2):
        images = np.asarray(block["image"])  # without copying
        count = len(images)
        if count < batch:
            images = np.concatenate([images, np.repeat(images[-1:], batch - count, axis=0)])
        features = network(images)[:count]
        yield [ViewFeatures(*pair) for pair in zip(features, block["mirrored"].numpy().tolist(), strict=True)]


@functools.lru_cache(maxsize=1)
def _network(pickled: bytes) -> Network:
    """Opens the network in a process of the cluster, which keeps it between chunks. pickled: see `compute_on_cluster`."""
    from distributed import get_worker

    from pipeline.console import quiet_libraries

    quiet_libraries()
    import tensorflow as tf

    from pipeline.training.runtime import enable_determinism

    threads = get_worker().state.nthreads
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    enable_determinism()
    return pickle.loads(pickled)(threads=threads)


def compute_chunk(pickled: bytes, views: Sequence[View], recipe: ViewRecipe, batch: int) -> list[ViewFeatures]:
    """The features of a chunk; runs on a worker. All paths must be valid on all workers."""
    with _one_at_a_time:
        return [view for block in compute(_network(pickled), views, recipe, batch) for view in block]


def compute_on_cluster(
    cluster: Workers, open_network: Callable[..., Network], views: Sequence[View], recipe: ViewRecipe, batch: int
) -> Iterator[list[ViewFeatures]]:
    """Yields the features of `views`, a chunk at a time.

    open_network: opens the network on a worker, for the keyword argument `threads`; a function of a module, or a partial one.
    """
    pickled = pickle.dumps(open_network)
    size = batch * max(1, CHUNK // batch)
    chunks = [views[start : start + size] for start in range(0, len(views), size)]
    calls = (Call((pickled, chunk, recipe, batch), 0, f"view {1 + size * k}") for k, chunk in enumerate(chunks))
    yield from cluster.in_order(compute_chunk, calls, ahead=AHEAD)
