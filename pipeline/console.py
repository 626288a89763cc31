"""Terminal output: one-line errors, messages, progress bars, and filters for the output of libraries."""

import atexit
import gc
import logging
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tqdm import tqdm

__all__ = [
    "RESUMES",
    "STARTS_OVER",
    "UserError",
    "print_line",
    "progress",
    "quiet_libraries",
    "run_command",
    "say",
    "uninterrupted",
    "without_chatter",
    "without_credentials",
]


class UserError(Exception):
    """An error that the user can fix, reported in one line: what is wrong and where, then what to do.

    Attributes:
      message: what is wrong, and where.
      advice: what to do about it, a clause without a full stop; may be empty.

    str(error) is "message; advice". Do not split it: both may contain semicolons.
    """

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message, self.advice = message, advice

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message

    def __reduce__(self) -> tuple:
        """Pickles without __init__, because subclasses have other arguments; joblib sends errors back from worker processes."""
        return _without_init, (type(self), self.args), self.__dict__


def _without_init(kind: type[UserError], arguments: tuple) -> UserError:
    return kind.__new__(kind, *arguments)


def quiet_libraries() -> None:
    """Suppresses TensorFlow's start-up messages and deprecation warnings of libraries; errors are raised as before.

    Call before TensorFlow is imported: its C++ code reads the environment once.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # the Keras of the Model Garden; importing Keras 3 as well takes seconds
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    for name in ("tensorflow", "absl", "mlflow", "alembic", "h5py"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(
        logging.CRITICAL
    )  # it logs the traceback of exceptions that it also raises


_STDERR_LOCK = threading.RLock()  # one thread at a time may redirect stderr, which the whole process shares


@contextmanager
def without_chatter() -> Iterator[None]:
    """Filters information and warnings of C++ libraries out of stderr; all other lines are shown immediately.

    This also holds if the process aborts: the last lines of a library explain why.
    """
    with _STDERR_LOCK:
        sys.stderr.flush()
        terminal, (source, sink), end = os.dup(2), os.pipe(), f"<end {secrets.token_hex(16)}>"
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("stderr_filter.py")), end]
        # In its own session, so that Ctrl-C does not end it before this process.
        process = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=terminal, start_new_session=True)
        os.close(source)
        os.dup2(sink, 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            try:
                os.write(sink, end.encode())
            except BrokenPipeError:
                os.write(2, b"the output of libraries was lost: the process that filters it was killed\n")
            os.close(sink)
            with process.stdout as shown:
                shown.read()  # until everything is shown; a child process may keep the pipe open for longer
            threading.Thread(target=process.wait, daemon=True).start()


def say(message: str) -> None:
    """Prints a line to stderr without breaking a progress bar."""
    tqdm.write(message, file=sys.stderr)


def print_line(line: str) -> None:
    """Prints a line to stdout, at once, without breaking a progress bar."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def progress(iterable=None, *, total: int | None = None, describe: str, unit: str, **options) -> tqdm:
    """A progress bar with a rate; without a terminal it is updated rarely, so that logs stay short."""
    interactive = sys.stderr.isatty()
    options.setdefault("mininterval", 0.1 if interactive else 10)
    return tqdm(iterable, total=total, desc=describe, unit=unit, dynamic_ncols=interactive, file=sys.stderr, **options)


RESUMES = "run the same command again to resume where it stopped"
STARTS_OVER = "run the same command again to start over"


def run_command(main: Callable[[], None], *, interrupted: str = "") -> None:
    """Runs a command's `main`; a UserError becomes one line on stderr and exit status 1, an interrupt one line and status 130.

    If nobody reads stdout any more, as after `| head`, the status is 1, without a message.

    interrupted: what the user can do after an interrupt: RESUMES if finished work is kept, STARTS_OVER if it is lost.
    """
    quiet_libraries()
    _reduce_garbage_collection()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}" if interrupted else "interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        if not _reader_is_gone(sys.stdout.fileno()):
            raise  # another pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python reports it once more when it exits
        sys.exit(1)


def _reduce_garbage_collection() -> None:
    """Runs the garbage collector less often, and not over everything that is alive at exit.

    Importing the libraries creates hundreds of thousands of objects. With Python's defaults, garbage collection takes a fifth of
    the import time, and about a second at exit.
    """
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def _reader_is_gone(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _interrupt(number: int, frame: object) -> None:
    """Handles SIGTERM like Ctrl-C."""
    raise KeyboardInterrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays Ctrl-C and SIGTERM until the block is done: for short work that must not be left half done."""
    if threading.current_thread() is not threading.main_thread():  # signals only ever reach the main thread
        yield
        return
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: received.append(number)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt


def without_credentials(uri: str) -> str:
    """The URI without user, password and query, for files and messages that others can read."""
    if not re.match(r"[\w+.-]+://[^/]", uri):  # without a host, such as a path or sqlite:///...
        return uri
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
