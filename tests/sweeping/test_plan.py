"""The plan of a sweep, as the command line states it; and that a trial is composed as DVC composes it."""

from contextlib import contextmanager

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode

from pipeline.console import UserError
from pipeline.params import parse_params
from pipeline.sweeping.plan import check_values, pipeline_content, pipeline_overrides, read_plan, to_minimise
from tests.test_params import CONF, composed, names


@contextmanager
def multirun(*overrides):
    """The configuration that Hydra hands to callbacks of a multirun."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield GlobalHydra.instance().hydra.compose_config("sweep", list(overrides), run_mode=RunMode.MULTIRUN)


def plan_of(*overrides):
    with multirun(*overrides) as config:
        return read_plan(config)


def test_every_combination_counts_and_names_the_sweep():
    plan = plan_of("model=a0,a1", "finetune.learning_rate=0.1,0.01,0.001", "finetune.epochs=2")
    assert plan.name == "model-learning_rate"
    assert plan.swept == ["model", "finetune.learning_rate"]
    assert plan.trials == 6
    assert plan.overrides == {"model": "a0,a1", "finetune.learning_rate": "0.1,0.01,0.001", "finetune.epochs": "2"}
    assert plan.objective == "top1"


def test_a_value_on_the_command_line_replaces_those_of_a_ready_sweep():
    assert plan_of("sweep=a0_a5").trials == 6
    plan = plan_of("sweep=a0_a5", "model=a0,a1_stream", "sweep.name=mine")
    assert (plan.name, plan.trials, plan.swept) == ("mine", 2, ["model"])


def test_folds_and_seeds_repeat_and_may_be_crossed_with_what_competes():
    plan = plan_of("sweep=folds", "model=a0,a1")
    assert (plan.name, plan.trials, plan.swept, plan.repeats) == ("folds", 6, ["data.split.fold", "model"], "data.split.fold")
    assert plan_of("sweep=folds", "data.split.scheme=folds").overrides["data.split.fold"] == "1,2,3,4,5"
    assert plan_of("sweep=folds", "data.split.scheme=folds", "data.split.folds=10").trials == 10
    plan = plan_of("sweep=seeds", "seed=1,2,3")
    assert (plan.trials, plan.repeats) == (3, "seed")
    assert plan_of("model=a0,a1").repeats is None


def test_optuna_is_seeded_minimises_and_proposes_as_many_as_run_at_once():
    plan = plan_of("sweep=head", "hydra.sweeper.n_trials=7", "finetune.dropout=0.1")
    assert (plan.name, plan.trials, plan.objective) == ("head", 7, "log_loss")
    assert plan.sweeper["sampler"]["seed"] == 1 and plan.sweeper["n_jobs"] == 1
    assert "finetune.learning_rate" in plan.swept and "finetune.dropout" not in plan.swept
    assert plan_of("sweep=head", "hydra/launcher=joblib", "hydra.launcher.n_jobs=3").sweeper["n_jobs"] == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sweep=a0_a5,head"], "sweep cannot be swept"),
        (["sweep.objective=top1,log_loss"], r"sweep\.objective cannot be swept"),
        (["sweep.objective=test"], r"sweep\.objective = 'test': input should be 'top1'"),
        (["sweep.name=a/b"], r"sweep\.name = 'a/b'"),
        (["sweep=head", "hydra.sweeper.direction=maximize"], "must be minimize"),
        (["sweep=head", "hydra/launcher=joblib"], "must be a number of jobs"),
        (["sweep=head", "hydra.sweeper.n_trials=0"], r"hydra\.sweeper\.n_trials = 0: must be 1 or more"),
        (["seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], r"hydra\.launcher\.n_jobs = 0: must be"),
        (["sweep=folds", "data.split.fold=2"], r"sweep\.repeats = data\.split\.fold: that key is not swept"),
        (["sweep=folds", "data.split.scheme=grouped"], r"data\.split\.scheme = grouped has no folds.*scheme=folds"),
        (["model=a0,a1", "sweep.repeats=seed"], r"sweep\.repeats = seed: that key is not swept; .*swept: model"),
    ],
)
def test_bad_settings_are_named(overrides, message):
    with pytest.raises(UserError, match=message):
        plan_of(*overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=a0,a9"], "Could not find 'model/a9'"),
        (["finetune.learningrate=0.1,0.2"], r"Could not override 'finetune\.learningrate'"),
        (["sweep=head", "finetune.dropuot=interval(0.1,0.2)"], r"Could not override 'finetune\.dropuot'"),
    ],
)
def test_a_swept_group_or_key_that_does_not_exist_is_named_before_anything_starts(overrides, message):
    with multirun(*overrides) as config, pytest.raises(HydraException, match=message):
        check_values(read_plan(config), lambda one: compose("config", one))


def test_swept_values_that_exist_are_composed_each_group_once_and_each_key_once():
    composed = []
    with multirun("model=a0,a1", "finetune.epochs=1,2,3", "seed=2") as config:
        check_values(read_plan(config), composed.append)
    assert composed == [["seed=2", "model=a0"], ["seed=2", "model=a1"], ["seed=2", "finetune.epochs=1"]]


@pytest.mark.parametrize("sweep", names("sweep"))
def test_a_ready_sweep_changes_nothing_that_dvc_would_not_compose(sweep):
    """Fixed values must be overrides of each job, for only these reach `dvc exp run -S`."""
    with multirun(f"sweep={sweep}", "model=a1") as config:
        content = pipeline_content(config)
    assert content == composed("model=a1")
    parse_params(content)


def test_a_jobs_overrides_reach_dvc_without_those_of_the_sweep():
    given = ["sweep=head", "model=a0", "sweep.name=x", "+data.classes=[a,b]", "finetune.patience=None", "data.archive=a=b"]
    expected = {"model": "a0", "data.classes": "[a,b]", "finetune.patience": "null", "data.archive": "a=b"}
    assert pipeline_overrides(given) == expected


def test_objectives_to_maximise_are_negated():
    assert to_minimise("top1", 0.75) == -0.75
    assert to_minimise("log_loss", 0.75) == 0.75
