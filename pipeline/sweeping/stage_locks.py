"""StageLocks: what several trials at once must not do at once.

Two trials that share a stage which has not run yet would both run it; the second waits instead, and gets it from DVC's cache. And
DVC composes and stashes each experiment in the working copy, which only one may do at a time.
"""

from pathlib import Path

from filelock import FileLock

from pipeline.files import write_text

LOOK = 0.5  # seconds between two tries to get a lock


class StageLocks:
    """The locks of one trial. `keys`: each stage's key, in the order they run (see identity.stage_keys)."""

    def __init__(self, folder: Path, keys: dict[str, str]):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.keys = folder, keys
        self.start = FileLock(folder / "start.lock", thread_local=False)
        self.held: dict[str, FileLock] = {}
        self.at: str | None = None

    def wait(self) -> None:
        """Waits until no other trial is at a stage that this one needs and that has not run yet; such stages are then its own."""
        for stage, key in self.keys.items():
            if self._done(key).exists():
                continue
            lock = FileLock(self.folder / f"{key}.lock", thread_local=False)
            lock.acquire(poll_interval=LOOK)
            if self._done(key).exists():  # whoever had it before has run it
                lock.release()
            else:
                self.held[stage] = lock
        self.start.acquire(poll_interval=LOOK)

    def entered(self, stage: str) -> None:
        """DVC has come to `stage`: the experiment has started, and the stage before it is done."""
        self.start.release()
        self._pass()
        self.at = stage

    def end(self, success: bool) -> None:
        """The experiment has ended; whoever waits for its stages may go on."""
        self.start.release()
        if success:
            self._pass()
        for lock in self.held.values():
            lock.release()
        self.held = {}

    def _pass(self) -> None:
        lock = self.held.pop(self.at, None)
        if lock is not None:
            write_text(self._done(self.keys[self.at]), "")
            lock.release()

    def _done(self, key: str) -> Path:
        return self.folder / f"{key}.done"
