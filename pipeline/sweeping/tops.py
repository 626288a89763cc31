"""Trials that share their frames and their frozen backbone: the stages up to embed run once, each trial's top is trained here.

Such trials differ in nothing that these stages depend on, which dvc.yaml says. DVC runs the stages in a copy of the repository
and keeps their outputs in its cache, so that an experiment with the same parameters restores them. A trial is then trained and
evaluated in the process that the launcher gave it, as finetune and evaluate do it and with the same scores, and TensorFlow
starts once. Only the best becomes a DVC experiment (`results.confirm_best`).
"""

from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from filelock import FileLock

from pipeline.artifacts import EMBEDDINGS, FRAMES, MANIFEST, ClassifierDescription, FramesSummary
from pipeline.files import write_text
from pipeline.params import Params
from pipeline.revisions import sub_folder
from pipeline.sweeping import costs, experiments
from pipeline.sweeping.identity import stage_keys
from pipeline.sweeping.plan import Sweep
from pipeline.sweeping.records import Trial
from pipeline.sweeping.stage_locks import STAGE_LOCKS, StageLocks

LAST_SHARED = "embed"  # the last stage that trials share


def share_backbone(swept: Sequence[str], pipeline: Path = Path("dvc.yaml")) -> bool:
    """Whether trials that differ only in the keys `swept` have the same features, if their backbone is frozen."""
    deciding: list[str] = []
    for name, stage in yaml.safe_load(pipeline.read_text(encoding="utf-8"))["stages"].items():
        deciding += stage.get("params", [])
        if name == LAST_SHARED:
            break
    deciding.remove("finetune.trainable")  # a probe and a head are trained on the same features

    def can_change(key: str, param: str) -> bool:
        return param == key or param.startswith(f"{key}.") or key.startswith(f"{param}.")

    keys = [key.replace("/", ".") for key in swept]
    sections = all(key.split(".")[0] in Params.model_fields for key in keys)  # others, as `experiment`, may change anything
    return sections and not any(can_change(key, param) for key in keys for param in deciding)


def open_features(content: dict[str, Any], state: list, sweep: Sweep, on_stage: Callable[[str], None]) -> Path:
    """The pipeline's folder in the copy of the repository in which the stages ran that a trial shares with others.

    content: the trial's parameters. state: of code and files (see `identity`). Raises TrialError if a stage fails.
    """
    finetune = content["finetune"] | {"trainable": "frozen"}
    key = stage_keys(content | {"finetune": finetune}, state)[LAST_SHARED]
    copy, done = sweep.path / f"features-{key}", sweep.path / f"features-{key}.done"
    with FileLock(sweep.path / f"features-{key}.lock"):  # several processes may run trials
        if not done.exists():
            keys = stage_keys(content, state)
            shared = {stage: keys[stage] for stage in list(keys)[: list(keys).index(LAST_SHARED) + 1]}
            locks = StageLocks(STAGE_LOCKS, shared)
            name = f"features-{key}"
            experiments.run_shared_stages(name, content, LAST_SHARED, copy, sweep, locks=locks, on_stage=on_stage)
            write_text(done, "")
    return copy / sub_folder()


def train_and_evaluate(trial: Trial, params: Params, features: Path, sweep: Sweep, log: Path) -> None:
    """Trains and evaluates the trial's top and logs it to an MLflow run under the sweep's. Completes the trial's record.

    features: see `open_features`. log: receives what is printed meanwhile.
    """
    from pipeline.tracking.sweeps import trial_run

    with open(log, "a", encoding="utf-8") as file, redirect_stderr(file), TemporaryDirectory() as scratch:
        with trial_run(sweep.run_id, trial.name, params, features / MANIFEST) as run:
            _train_and_evaluate(trial, params, features, Path(scratch), run)
        costs.keep_network(Path(scratch) / "classifier", trial.network, sweep.path)
    trial.evaluated_run_id = run.run_id


def _train_and_evaluate(trial: Trial, params: Params, features: Path, scratch: Path, run) -> None:
    from pipeline.evaluation.classifier import predict_features, score_splits
    from pipeline.evaluation.decision import decider
    from pipeline.evaluation.predictions import write_predictions
    from pipeline.training.contract import Training
    from pipeline.training.frozen import train_frozen
    from pipeline.training.outputs import describe_classifier

    if params.finetune.trainable == "head":
        import tf_keras

        tf_keras.backend.clear_session()  # as in a process of its own
    summary = FramesSummary.of(features / FRAMES)
    description = describe_classifier(params.model, params.finetune, params.frames, params.evaluate.views, summary.classes)
    training = Training(params.model, params.finetune, params.seed, scratch, params.speed.checkpoint_minutes)
    embeddings, classifier = features / EMBEDDINGS, scratch / "classifier"
    decide = decider(params.finetune, params.data.background, summary)
    history = train_frozen(training, description, embeddings, classifier, decide)
    run.log_history(history)
    description = ClassifierDescription.of(classifier)
    predict = partial(predict_features, embeddings, classifier=classifier, description=description)
    trial.metrics, predictions = score_splits(predict, description, params.evaluate, params.seed)
    write_predictions(scratch / "predictions.csv", *predictions.values())
    scores = trial.metrics.model_dump(exclude={"decision", "interpolation"})
    run.log_metrics(scores | {"decision": description.decision.model_dump()})
    run.log_artifact(scratch / "predictions.csv")
    trial.step_ms = costs.step_ms(history, params.finetune.batch_size)
    trial.network = costs.network_key(description)
