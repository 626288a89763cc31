"""What a person at the terminal sees: one clear line for an error, progress bars, and only the warnings that concern them."""

import logging
import os
import re
import secrets
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
    "progress",
    "quiet_libraries",
    "run_command",
    "say",
    "uninterrupted",
    "without_chatter",
    "without_credentials",
]


class UserError(Exception):
    """Something the user can mend, told in one line: what is wrong and where, then what to do.

    Attributes:
      message: what is wrong, and where.
      advice: what to do about it, a clause without a full stop; empty where the message says it all.

    str(error) is "message; advice". Nothing may take that apart again: a message, and an advice too, may hold semicolons.
    """

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message, self.advice = message, advice

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message

    def __reduce__(self) -> tuple:
        """For the way back from a worker process: without __init__, because subclasses take other arguments."""
        return _without_init, (type(self), self.args), self.__dict__


def _without_init(kind: type[UserError], arguments: tuple) -> UserError:
    return kind.__new__(kind, *arguments)


def quiet_libraries() -> None:
    """Keeps TensorFlow's start-up notices and third-party deprecation chatter off the terminal.

    What fails is raised as an exception all the same.

    Call before TensorFlow is imported: its C++ side reads the environment once.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # the Model Garden's Keras; importing the other as well takes seconds
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    for name in ("tensorflow", "absl", "mlflow", "alembic", "h5py"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints the traceback of what it then raises


_HOLDING = threading.RLock()  # stderr is the process's, so one thread at a time may hold it


@contextmanager
def without_chatter() -> Iterator[None]:
    """Withholds the information and the warnings that C++ libraries write to stderr; all other lines are shown as they come.

    Also where the process aborts: what a library says last is why it does.
    """
    with _HOLDING:
        sys.stderr.flush()
        terminal, (source, sink), end = os.dup(2), os.pipe(), f"<end {secrets.token_hex(16)}>"
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("stderr_filter.py")), end]
        # In a session of its own, so that a Ctrl-C does not end it before the one that it serves.
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
                os.write(2, b"what libraries wrote meanwhile could not be shown: the process that filters it was killed\n")
            os.close(sink)
            with process.stdout as shown:
                shown.read()  # until all is shown; a process that was started inside may hold the pipe for longer
            threading.Thread(target=process.wait, daemon=True).start()


def say(message: str) -> None:
    """Prints a line without breaking a progress bar."""
    tqdm.write(message, file=sys.stderr)


def progress(iterable=None, *, total: int | None = None, describe: str, unit: str, **options) -> tqdm:
    """A progress bar with a rate; where there is no terminal it prints seldom, so that logs stay short."""
    interactive = sys.stderr.isatty()
    options.setdefault("mininterval", 0.1 if interactive else 10)
    return tqdm(iterable, total=total, desc=describe, unit=unit, dynamic_ncols=interactive, file=sys.stderr, **options)


RESUMES = "run the same command again to resume where it stopped"
STARTS_OVER = "run the same command again to start over"


def run_command(main: Callable[[], None], *, interrupted: str = "") -> None:
    """Runs a command's `main`; a UserError becomes one line on stderr and exit status 1, an interrupt a line and 130.

    interrupted: what the user can do after an interrupt: RESUMES where work that was done is kept, STARTS_OVER where it is lost.
    """
    quiet_libraries()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}" if interrupted else "interrupted", file=sys.stderr)
        sys.exit(130)


def _interrupt(number: int, frame: object) -> None:
    """A scheduler's or a shutdown's polite kill ends a stage as Ctrl-C does."""
    raise KeyboardInterrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Puts off Ctrl-C and SIGTERM until what is inside is done: for short work that must not be left half done."""
    if threading.current_thread() is not threading.main_thread():  # signals only ever reach the main thread
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def without_credentials(uri: str) -> str:
    """The URI without user, password and query, for files and messages that others read."""
    if not re.match(r"[\w+.-]+://[^/]", uri):  # no host, so none of these: a path, sqlite:///...
        return uri
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
