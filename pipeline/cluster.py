"""Decoding and embedding on more than one machine: work handed to a Dask cluster, its results taken back in order.

Invariants: the results are those of one process, in the same order, whichever worker computed them and however often it
had to be asked; only a bounded number of calls is out at once, so memory does not grow with the work; every way in which a
cluster can fail (nobody at the address, no workers, other code, a call that kills its workers) ends in one clear line.

Dask's own client is used, not joblib's Dask backend: that waits for ever for workers that are gone.
"""

import functools
import hashlib
import logging
import pickle
import platform
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from pipeline.artifacts import CODE
from pipeline.console import UserError, say
from pipeline.files import scratch
from pipeline.settings import Cluster

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 15  # for a scheduler to answer
WORKERS_SECONDS = 60  # for a first worker to appear, or another one once all are gone (a nanny restarts its own in seconds)
CHECK_SECONDS = 2  # between looks at a cluster that is being waited for
PACKAGES = ("numpy", "opencv-python-headless", "tensorflow", "tf-keras")  # what decides the numbers

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
    """What must be equal on every machine: Python, the packages that decide the numbers, and the code."""
    return {"Python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}, "code": _CODE}


def describe_difference(mine: dict[str, str], theirs: dict[str, str]) -> str:
    """In words, how another process's `software()` differs; empty where it does not."""
    names = [name for name in mine if theirs.get(name) != mine[name]]
    return ", ".join(f"{name} {theirs.get(name)} instead of {mine[name]}" for name in names)


def _commit() -> str:
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=_CHECKOUT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _introduce(token: str) -> dict:
    """Runs on a worker: what it is, and whether it sees the file `token`."""
    return {"software": software(), "commit": _commit(), "sees": Path(token).is_file()}


def _work(expected: dict[str, str], function: Callable, *arguments: Any) -> Any:
    """Runs on a worker; refuses one that joined later with other software."""
    difference = describe_difference(expected, software())
    if difference:
        raise UserError(f"a worker on {platform.node()} has {difference}; start it anew in the same environment and commit")
    return function(*arguments)


def _opener() -> Callable[[bytes], Any]:
    """A function that Dask sends by value, as it does nested ones: its scheduler unpickles calls, but need not have this code."""

    def open_parcel(parcel: bytes) -> Any:
        import pickle

        return pickle.loads(parcel)()

    return open_parcel


class Workers:
    """An open cluster, whose workers have been checked."""

    def __init__(self, client: "Client", name: str):
        self.client = client
        self.name = name
        self._alone_since: float | None = None

    def threads(self) -> int:
        """How many calls the cluster works on at once."""
        return max(1, self._threads_now())

    def _threads_now(self) -> int:
        try:
            if self.client.status == "running":
                return sum(self.client.nthreads().values())
        except (OSError, CancelledError):
            pass  # said below
        raise UserError(f"{self.name}: the scheduler has gone; finished work is kept: run again")

    def in_order(self, function: Callable, calls: Iterable[Call], *, ahead: int, most_bytes: int = sys.maxsize) -> Iterator[Any]:
        """Yields `function(*call.arguments)` for each call, in order.

        A call whose worker dies is made again elsewhere. At most `ahead` calls a thread of the cluster, and results of
        `most_bytes` (but always one), are out at once.

        Raises:
          UserError: a call keeps killing its workers, or the cluster is gone. What the function raises is raised as it is.
        """
        open_parcel = _opener()
        calls = iter(calls)
        upcoming = next(calls, None)
        out: deque[tuple[Call, Any]] = deque()
        held, most = 0, ahead * self.threads()
        try:
            while out or upcoming is not None:
                while upcoming is not None and (not out or (len(out) < most and held + upcoming.bytes <= most_bytes)):
                    parcel = pickle.dumps(functools.partial(_work, software(), function, *upcoming.arguments))
                    future = self.client.submit(open_parcel, parcel, pure=False)
                    out.append((upcoming, future))
                    held += upcoming.bytes
                    upcoming = next(calls, None)
                call, future = out[0]
                result = self._result(call, future)
                out.popleft()
                held -= call.bytes
                del future  # lets the cluster forget the result
                yield result
        finally:
            if out and self.client.status == "running":
                self.client.cancel([future for _, future in out])

    def _result(self, call: Call, future: Any) -> Any:
        from distributed import KilledWorker

        while True:
            try:
                return future.result(timeout=CHECK_SECONDS)
            except TimeoutError:
                if future.status == "error":  # the call's own TimeoutError
                    raise
                self._check_alive()
            except KilledWorker:
                raise UserError(
                    f"{call.what}: each of the workers that had it died (no memory left, or the work crashes it); "
                    "finished work is kept: run again with more memory a worker, or without it"
                ) from None
            except CancelledError:
                raise UserError(f"{self.name}: the scheduler has gone; finished work is kept: run again") from None

    def _check_alive(self) -> None:
        if self._threads_now():
            self._alone_since = None
            return
        now = time.monotonic()
        self._alone_since = self._alone_since or now
        if now - self._alone_since > WORKERS_SECONDS:
            raise UserError(f"{self.name}: all workers have gone; finished work is kept: start workers and run again")


@contextmanager
def open_cluster(settings: Cluster) -> Iterator[Workers | None]:
    """The cluster of `settings`, its workers checked; None for cluster.engine = local.

    With an address it is somebody's cluster and stays as it is; else one is started on this machine, and ends with the block.

    Raises:
      UserError: nobody answers at the address, there are no workers, or they do not have the same software and files.
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
            dashboard_address="127.0.0.1:0",  # any free port; Dask's own choice may be taken, and it would say so
            memory_limit=0,  # Dask would pause or kill workers by a guess; memory is bounded by what is out at once
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
        raise UserError(
            f"cluster.address = {address}: no Dask scheduler answers there ({reason[:200]}); start one with `dask scheduler`"
        ) from None


def _checked(client: "Client", name: str) -> Workers:
    """Waits for a worker, and has all introduce themselves."""
    start = "`python -m distributed.cli.dask_worker ADDRESS --nthreads 1` in this folder"
    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except TimeoutError:
        raise UserError(f"{name}: the scheduler has no workers; start some: {start}") from None
    folder = scratch("cluster", "tokens").resolve()
    token = folder / uuid.uuid4().hex
    token.touch()
    try:
        answers = client.run(_introduce, str(token), on_error="return")
    finally:
        token.unlink()
    for worker, answer in sorted(answers.items()):
        if isinstance(answer, Exception):
            raise UserError(f"worker {worker} cannot run this code ({type(answer).__name__}: {answer}); start it with {start}")
        difference = describe_difference(software(), answer["software"])
        if difference:
            raise UserError(
                f"worker {worker} (commit {answer['commit']}, here {_commit()}) has {difference}; "
                "start it anew in the same environment and commit"
            )
        if not answer["sees"]:
            raise UserError(f"worker {worker} does not see {folder}: workers need this folder under the same path")
    workers = Workers(client, name)
    say(f"{len(answers)} workers, {workers.threads()} threads on {name}")
    return workers
