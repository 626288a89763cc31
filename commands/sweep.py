"""Many trials in one command, compared in one table: `python -m commands.sweep model=a0,a1 finetune.learning_rate=0.001,0.003`.

A Hydra application: its sweepers (every combination, Optuna) choose the trials, its launchers (one after another, joblib, Dask,
Slurm) run them. Each trial is a DVC experiment with its own MLflow run, nested under the sweep's. `--help` shows more;
conf/sweep.yaml and conf/sweep/ hold the configuration. A killed sweep resumes when the same command is given again.
"""

from pathlib import Path

import hydra

from pipeline.console import RESUMES, run_command
from pipeline.sweeping import start
from pipeline.sweeping.results import finish
from pipeline.sweeping.trial import run_trial

CONF = Path(__file__).resolve().parent.parent / "conf"


def main() -> None:
    application = hydra.main(version_base="1.3", config_path=str(CONF), config_name="sweep")(run_trial)
    try:
        application()
    except SystemExit:  # Hydra has printed the reason; the trials that have ended are shown nevertheless
        if start.opened is not None:
            finish(start.opened)
        raise
    except BaseException as error:
        _abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    if start.opened is not None:  # None: only help or the configuration was asked for
        finish(start.opened)


def _abandon(status: str) -> None:
    from pipeline.tracking.sweeps import end_sweep

    if start.opened is not None:
        start.opened.resources.close()
        end_sweep(start.opened.run_id, status)


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
