"""Many trials in one command, compared in one table: `python -m commands.sweep model=a0,a1 finetune.learning_rate=0.001,0.003`.

A Hydra application: its sweepers (every combination, Optuna) choose the trials, its launchers (one after another, joblib, Dask,
Slurm) run them. Trials on one frozen backbone train in the launcher's process and the best becomes a DVC experiment; all others
are experiments themselves. Each has an MLflow run, nested under the sweep's. `--help` shows more; conf/sweep.yaml and conf/sweep/
hold the configuration. A killed sweep resumes when the same command is given again.
"""

import os
import sys
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from pipeline.console import RESUMES, UserError, run_command
from pipeline.sweeping import start
from pipeline.sweeping.guard import await_guard
from pipeline.sweeping.results import finish
from pipeline.sweeping.trial import run_trial

CONF = Path(__file__).resolve().parent.parent / "conf"


def main() -> None:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach this function
    if not any(argument.startswith("-") for argument in sys.argv[1:]):
        sys.argv.append("--multirun")  # hydra.mode of the configuration is not known where it cannot be composed
    application = hydra.main(version_base="1.3", config_path=str(CONF), config_name="sweep")(run_trial)
    try:
        try:
            application()
        except ValueError as error:
            if "No trials are completed" not in str(error):  # Optuna's, where all have failed: `finish` tells why
                raise
        if start.opened is not None:  # None: only help or the configuration was asked for
            finish(start.opened)
    except start.Unusable as refused:
        reason = refused.args[0]
        raise (reason if isinstance(reason, UserError) else _in_one_line(reason)) from None
    except (HydraException, OmegaConfBaseException) as error:
        _abandon("FAILED")
        raise _in_one_line(error) from error
    except BaseException as error:
        _abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise


def _in_one_line(error: Exception) -> UserError:
    """What Hydra says of a configuration, without the places where it has looked, and without its advice to add unknown keys."""
    text = " ".join(str(error).split()).partition(" Config search path:")[0]
    what, unknown, _ = text.partition(" To append to your config use")
    return UserError(what.rstrip("."), advice="conf/ has the keys and groups" if unknown else "")


def _abandon(status: str) -> None:
    """Gives the sweep's run its status, once the trials have ended that launchers' processes left."""
    from pipeline.tracking.sweeps import end_sweep

    if start.opened is not None:
        start.opened.resources.close()
        for lock in start.opened.records.folder.glob("*.guard"):
            await_guard(lock)
        end_sweep(start.opened.run_id, status)


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
