"""Work on more than one machine: calls are submitted to a Dask cluster, and their results come back in order.

Invariants: the results are those of one process, in the same order, whichever worker computed them and however often; only a
bounded number of calls is in flight, so memory does not grow with the work; every failure of a cluster (no answer at the address,
no workers, other code, a call that kills its workers) ends in one line.

Dask's own client is used, not joblib's Dask backend, which waits for ever for workers that are gone.
"""

import functools
import hashlib
import logging
import pickle
import platform
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from pipeline.artifacts import CODE
from pipeline.console import UserError, say
from pipeline.files import scratch
from pipeline.git import query_git
from pipeline.settings import Cluster

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 15  # for a scheduler to answer
WORKERS_SECONDS = 60  # for a first worker to appear, or another one once all are gone (a nanny restarts its own in seconds)
FETCHES = 16  # results that are fetched from workers concurrently
CHECK_SECONDS = 2  # between checks of a cluster while waiting for a result
PACKAGES = (
    "av",
    "numpy",
    "opencv-python-headless",
    "openvino",
    "tensorflow",
    "tf-keras",
)  # what decides the results of its calls
START = "`python -m distributed.cli.dask_worker ADDRESS --nthreads 1` in this folder"
KEPT = "run again: finished work is kept"

LOCAL = Cluster(engine="local", address=None, workers=None)
_CHECKOUT = Path(__file__).resolve().parent.parent


class Call(NamedTuple):
    """One piece of work: the function's arguments, how many bytes its result may take, and what it is, for messages."""

    arguments: tuple
    bytes: int
    what: str


def _code() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for folder in CODE for path in (_CHECKOUT / folder).rglob("*.py")):
        digest.update(path.relative_to(_CHECKOUT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


_CODE = _code()  # taken when this process imports its code: a worker that was started before an edit still runs the old one


@functools.cache
def software() -> dict[str, str]:
    """What must be equal on every machine: Python, the packages that decide the results, and the code."""
    return {"Python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}, "code": _CODE}


def describe_difference(mine: dict[str, str], theirs: dict[str, str]) -> str:
    """In words, how another process's `software()` differs; empty where it does not."""
    names = [name for name in mine if theirs.get(name) != mine[name]]
    return ", ".join(f"{name} {theirs.get(name)} instead of {mine[name]}" for name in names)


def _commit() -> str:
    return query_git("rev-parse", "--short", "HEAD", folder=_CHECKOUT) or "unknown"


def _describe_worker(token: str) -> dict:
    """Runs on a worker: its software, and whether it sees the file `token`."""
    return {"software": software(), "commit": _commit(), "sees": Path(token).is_file()}


def _run_checked(expected: dict[str, str], function: Callable, *arguments: Any) -> Any:
    """Runs on a worker; refuses one that joined later with other software."""
    difference = describe_difference(expected, software())
    if difference:
        message = f"a worker on {platform.node()} has {difference}"
        raise UserError(message, advice="restart it in the same environment and commit")
    return function(*arguments)


def _unpickle_and_call() -> Callable[[bytes], Any]:
    """A function that Dask sends by value, as it does nested ones: its scheduler unpickles calls, but need not have this code."""

    def call(pickled: bytes) -> Any:
        import pickle

        return pickle.loads(pickled)()

    return call


class Workers:
    """An open cluster, whose workers have been checked."""

    def __init__(self, client: "Client", name: str):
        self.client = client
        self.name = name
        self._without_workers_since: float | None = None

    def threads(self) -> int:
        """How many calls the cluster works on at once."""
        return max(1, self._threads_now())

    def _threads_now(self) -> int:
        try:
            if self.client.status == "running":
                return sum(self.client.nthreads().values())
        except (OSError, CancelledError):
            pass
        raise UserError(f"{self.name}: the scheduler is no longer reachable", advice=KEPT)

    def in_order(self, function: Callable, calls: Iterable[Call], *, ahead: int, most_bytes: int = sys.maxsize) -> Iterator[Any]:
        """Yields `function(*call.arguments)` for each call, in order.

        A call whose worker dies runs again on another one. At most `ahead` calls a thread of the cluster, and results of
        `most_bytes` (but always one), are in flight.

        Raises:
          UserError: a call keeps killing its workers, or the cluster is gone. What the function raises is raised as it is.
        """
        call_pickled = _unpickle_and_call()
        calls = iter(calls)
        upcoming = next(calls, None)
        in_flight: deque[tuple[Call, Any, Future]] = deque()
        held, most = 0, ahead * self.threads()
        # Fetching a result takes a round trip to its worker, so several are fetched concurrently.
        fetching = ThreadPoolExecutor(FETCHES)
        try:
            while in_flight or upcoming is not None:
                while upcoming is not None and (not in_flight or (len(in_flight) < most and held + upcoming.bytes <= most_bytes)):
                    pickled = pickle.dumps(functools.partial(_run_checked, software(), function, *upcoming.arguments))
                    future = self.client.submit(call_pickled, pickled, pure=False)
                    in_flight.append((upcoming, future, fetching.submit(self._result, upcoming, future)))
                    held += upcoming.bytes
                    upcoming = next(calls, None)
                call, future, fetched = in_flight[0]
                result = fetched.result()
                in_flight.popleft()
                held -= call.bytes
                del future, fetched  # lets the cluster forget the result
                yield result
        finally:
            if in_flight and self.client.status == "running":
                self.client.cancel([future for _, future, _ in in_flight])
            fetching.shutdown(wait=False, cancel_futures=True)

    def _result(self, call: Call, future: Any) -> Any:
        from distributed import KilledWorker

        while True:
            try:
                return future.result(timeout=CHECK_SECONDS)
            except TimeoutError:
                if future.status == "error":  # the call's own TimeoutError
                    raise
                self._check_workers()
            except KilledWorker:
                message = f"{call.what}: each of the workers that had it died (no memory left, or the work crashes it)"
                raise UserError(message, advice=f"{KEPT}; with more memory a worker, or without it") from None
            except CancelledError:
                raise UserError(f"{self.name}: the scheduler is no longer reachable", advice=KEPT) from None

    def _check_workers(self) -> None:
        if self._threads_now():
            self._without_workers_since = None
            return
        now = time.monotonic()
        self._without_workers_since = self._without_workers_since or now
        if now - self._without_workers_since > WORKERS_SECONDS:
            raise UserError(f"{self.name}: all workers are lost", advice=f"start workers and {KEPT}")


@contextmanager
def open_cluster(settings: Cluster) -> Iterator[Workers | None]:
    """The cluster of `settings`, its workers checked; None for cluster.engine = local.

    A cluster at an address is left running; without one it is started on this machine and ends with the block.

    Raises:
      UserError: no scheduler answers at the address, there are no workers, or they do not have the same software and files.
    """
    if settings.engine == "local":
        yield None
        return
    from distributed import Client, LocalCluster

    if settings.address is not None:
        with _connect(Client, settings.address) as client:
            yield _checked(client, settings.address)
        return
    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count()
    with (
        LocalCluster(
            n_workers=settings.workers or cores,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # any free port; Dask's default may be taken, and it would warn of that
            memory_limit=0,  # Dask would pause or kill workers by a guess; memory is bounded by what is in flight
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield _checked(client, "the Dask cluster on this machine")


def _connect(client: type, address: str) -> "Client":
    try:
        return client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        message = f"cluster.address = {address}: no Dask scheduler answers there ({reason[:200]})"
        raise UserError(message, advice="start one with `dask scheduler`") from None


def _checked(client: "Client", name: str) -> Workers:
    """Waits for a worker, and checks the software and the files of all."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except TimeoutError:
        raise UserError(f"{name}: the scheduler has no workers", advice=f"start some: {START}") from None
    folder = scratch("cluster", "tokens").resolve()
    token = folder / uuid.uuid4().hex
    token.touch()
    try:
        answers = client.run(_describe_worker, str(token), on_error="return")
    finally:
        token.unlink()
    for worker, answer in sorted(answers.items()):
        if isinstance(answer, Exception):
            reason = f"{type(answer).__name__}: {answer}"
            raise UserError(f"worker {worker} cannot run this code ({reason})", advice=f"start it with {START}")
        difference = describe_difference(software(), answer["software"])
        if difference:
            message = f"worker {worker} (commit {answer['commit']}, here {_commit()}) has {difference}"
            raise UserError(message, advice="restart it in the same environment and commit")
        if not answer["sees"]:
            raise UserError(f"worker {worker} does not see {folder}", advice="workers need this folder under the same path")
    workers = Workers(client, name)
    say(f"{len(answers)} workers, {workers.threads()} threads on {name}")
    return workers
