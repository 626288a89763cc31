"""The sweep's progress bar: trials done, what the others are at, and the time left."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.console import progress
from pipeline.sweeping.records import Records

LOOK = 2.0  # seconds between two looks at the records, which launchers' processes write


@contextmanager
def sweep_bar(records: Records, total: int | None) -> Iterator[None]:
    """Shows a bar while trials run elsewhere. Trials that were found finished do not count for the rate."""
    done = threading.Event()
    with progress(total=total, describe="sweep", unit="trial", smoothing=0) as bar:

        def watch() -> None:
            over = False
            while not over:
                over = done.wait(LOOK)
                trials = records.trials()
                finished = records.jobs_done()
                found = sum(trial.status == "finished" and trial.found for trial in trials)
                running = [f"#{trial.number} {trial.stage or 'looking'}" for trial in trials if trial.status == "running"]
                failed = sum(trial.status == "failed" for trial in trials)
                texts = running + ([f"{failed} failed"] if failed else [])
                bar.initial = min(found, finished)
                bar.set_postfix_str(", ".join(texts)[:120], refresh=False)
                bar.update(finished - bar.n)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
