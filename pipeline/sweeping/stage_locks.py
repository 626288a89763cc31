"""Locks between trials that run at the same time.

Two trials that share a stage would both run it. With the locks, the second waits, and DVC restores the stage from its cache.
Another lock protects the working copy, in which DVC composes and stashes one experiment at a time.
"""

from pathlib import Path

from filelock import FileLock

from pipeline.files import write_text
from pipeline.sweeping import workspace

STAGE_LOCKS = Path(".cache/sweeps/stage_locks")
POLL = 0.5  # seconds between two attempts to take a lock


class StageLocks:
    """The locks of one trial, as a context manager: it waits for them on entry and releases them on exit.

    keys: of each stage, in the order they run (see identity.stage_keys).
    """

    def __init__(self, folder: Path, keys: dict[str, str]):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.keys = folder, keys
        self.start = FileLock(folder / "start.lock", thread_local=False)
        self.held: dict[str, FileLock] = {}
        self.stage: str | None = None

    def __enter__(self) -> "StageLocks":
        """Waits until no other trial runs an unfinished stage that this trial needs; then locks these stages."""
        for stage, key in self.keys.items():
            if self._done(key).exists():
                continue
            lock = FileLock(self.folder / f"{key}.lock", thread_local=False)
            lock.acquire(poll_interval=POLL)
            if self._done(key).exists():  # the trial that held the lock has run it
                lock.release()
            else:
                self.held[stage] = lock
        self.start.acquire(poll_interval=POLL)
        workspace.record()
        return self

    def enter_stage(self, stage: str | None) -> None:
        """Releases the lock of the previous stage. Call it when DVC starts `stage`, or with None after the last one."""
        self._started()
        lock = self.held.pop(self.stage, None)
        if lock is not None:
            write_text(self._done(self.keys[self.stage]), "")
            lock.release()
        self.stage = stage

    def __exit__(self, *error: object) -> None:
        self._started()
        for lock in self.held.values():
            lock.release()
        self.held, self.stage = {}, None

    def _started(self) -> None:
        if self.start.is_locked:
            workspace.forget()
            self.start.release()

    def _done(self, key: str) -> Path:
        return self.folder / f"{key}.done"
