"""What finetune and evaluate write of their MLflow run: models/run.json and results/run.json."""

from typing import Any

from pipeline.artifacts.content import Artifact


class RunRecord(Artifact):
    """models/run.json and results/run.json: the MLflow run of a stage's results.

    environment: what the classifier was trained with and on (`tracking.environment`); None where an earlier version trained it.
    """

    run_id: str
    experiment: str = ""
    tracking_uri: str = ""
    environment: dict[str, Any] | None = None
