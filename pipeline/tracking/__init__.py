"""MLflow tracking: one run a pipeline execution, from finetune through report, each stage in its own process.

Invariants: every call names its run and its store explicitly, so that nothing depends on the current directory (DVC runs
experiments in temporary copies) or on a run that another process made active. TensorFlow is never imported from here. MLflow
takes two seconds to import, so that happens when a run begins, not when a stage imports this package.
"""

from pipeline.tracking.classifiers import LoggedClassifier, log_classifier
from pipeline.tracking.descriptions import add_model_card, describe
from pipeline.tracking.runs import Run, begin_run, stage_run
from pipeline.tracking.store import configure, open_client

__all__ = [
    "LoggedClassifier",
    "Run",
    "add_model_card",
    "begin_run",
    "configure",
    "describe",
    "log_classifier",
    "open_client",
    "stage_run",
]
