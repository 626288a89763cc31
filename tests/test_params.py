"""The schema: conf/ composes to valid parameters, params.yaml is the default, and errors name the key."""

import copy
import functools
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from pipeline.console import UserError
from pipeline.models.cnn_rnn.network.image_networks import NETWORKS
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.params import load_params, parse_params

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"


def composed(*overrides: str) -> dict:
    """The parameters as Hydra composes them. It takes tenths of a second, so equal overrides are composed once in a process."""
    if any(override.startswith("model.weights=") for override in overrides):
        return _composed(overrides)  # model.watch depends on whether these files exist now
    return copy.deepcopy(_composed_once(overrides))


def _composed(overrides: tuple[str, ...]) -> dict:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", overrides=list(overrides))
        OmegaConf.resolve(config)
        return OmegaConf.to_container(config)


_composed_once = functools.cache(_composed)


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_params_yaml_is_the_composed_default():
    assert yaml.safe_load((ROOT / "params.yaml").read_text()) == composed()


def test_every_model_configuration_agrees_with_its_familys_table():
    cnn_rnn = {f"cnn_rnn_{network}": network for network in NETWORKS if network != "inception_v3"} | {"cnn_rnn": "inception_v3"}
    assert {*VARIANTS, *cnn_rnn} <= set(names("model"))
    for name in VARIANTS:
        model = parse_params(composed(f"model={name}", "data=ucf101_subset")).model
        stated = (model.id, model.fps, model.resolution, model.weights)
        assert stated == (name, model.variant.fps, model.variant.resolution, "pretrained")
    for name, network in cnn_rnn.items():
        model = parse_params(composed(f"model={name}", "data=ucf101_subset")).model
        stated = (model.family, model.id, model.network, model.resolution, model.weights)
        assert stated == ("cnn_rnn", f"cnn_rnn_{network}", network, NETWORKS[network].size, "imagenet")


def test_local_weights_are_watched(tmp_path):
    """DVC runs embed again when they change; for other values, the path is a dependency of embed in any case."""
    file, prefix = tmp_path / "movinet.tar.gz", tmp_path / "checkpoint/ckpt-1"
    file.touch()
    prefix.parent.mkdir()
    prefix.with_suffix(".index").touch()
    for weights, watched in (
        (file, file),
        (tmp_path, tmp_path),
        (prefix, prefix.parent),
        ("pretrained", "numeric.lock"),
        ("random", "numeric.lock"),
        ("https://example.org/w.tar.gz", "numeric.lock"),
        (tmp_path / "gone.tar.gz", "numeric.lock"),
    ):
        assert composed("data=ucf101_subset", f"model.weights={weights}")["model"]["watch"] == str(watched)


@pytest.mark.parametrize("data", sorted(set(names("data")) - {"source"}))
@pytest.mark.parametrize("finetune", names("finetune"))
def test_every_data_set_composes_with_every_kind_of_training(data, finetune):
    extra = ["data.folder=/videos"] if data == "folder" else []
    params = parse_params(composed(f"data={data}", f"finetune={finetune}", *extra))
    assert params.data.name == data
    expected = {"probe": "probe", "head": "head", "last_blocks": "last_blocks"}.get(finetune, "full")
    assert params.finetune.trainable == expected


@pytest.mark.parametrize("experiment", names("experiment"))
def test_every_experiment_composes_and_documents_its_command(experiment):
    parse_params(composed(f"experiment={experiment}"))
    header = (CONF / f"experiment/{experiment}.yaml").read_text()
    assert header.startswith("# @package _global_\n") and f"dvc exp run -S experiment={experiment}" in header


def test_the_movinet_tutorial_has_the_settings_of_the_tutorial():
    params = parse_params(composed("experiment=movinet_tutorial"))
    assert (params.model.id, params.frames.count, params.finetune.epochs, params.data.split.scheme) == ("a0", 8, 2, "random")
    assert (params.data.num_classes, params.data.split.train_per_class, params.data.split.test_per_class) == (10, 30, 20)
    assert parse_params(composed("experiment=movinet_tutorial", "finetune.epochs=3")).finetune.epochs == 3


def test_the_cnn_rnn_tutorial_has_the_settings_of_the_example():
    params = parse_params(composed("experiment=cnn_rnn_tutorial"))
    assert (params.model.network, params.model.units, params.model.hidden, params.model.dropout) == (
        "inception_v3",
        [16, 8],
        8,
        0.4,
    )
    assert (params.frames.count, params.frames.sampling, params.finetune.epochs) == (20, "first", 10)
    assert (params.data.split.validation, params.evaluate.views, len(params.data.classes)) == (0.3, 1, 5)


@pytest.mark.parametrize("group", ["cluster", "export"])
def test_every_other_group_composes(group):
    for name in names(group):
        parse_params(composed(f"{group}={name}"))


def test_frames_default_to_the_models_values():
    frames = parse_params(composed("data=ucf101_subset", "model=a3")).frames
    assert (frames.fps, frames.size) == (12, 256)
    frames = parse_params(composed("data=ucf101_subset", "model=a3", "frames.size=128")).frames
    assert (frames.fps, frames.size) == (12, 128)


def changed(key: str, value) -> dict:
    content = composed()
    *parents, last = key.split(".")
    section = content
    for parent in parents:
        section = section[parent]
    section[last] = value
    return content


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("finetune.learning_rte", 0.1, "finetune.learning_rte: unknown key; did you mean finetune.learning_rate?"),
        ("modle", {}, "modle: unknown key; did you mean model?"),
        ("data.split.flod", 1, "data.split.flod: unknown key; did you mean data.split.fold?"),
        ("finetune.learning_rate", -1, "finetune.learning_rate = -1: "),
        ("finetune.learning_rate", "fast", "finetune.learning_rate = 'fast': "),
        ("finetune.epochs", 1.5, "finetune.epochs = 1.5: "),
        ("model.id", "a6", "model.id = 'a6': "),
        ("data.split.fold", 4, "data.split: fold = 4, but UCF-101 has 3 official folds"),
        ("data.split.fold", 0, "data.split.fold = 0: "),
        ("data.num_classes", 0, "data.num_classes = 0: "),
        ("data.folder", "/videos", "give one of data.archive"),
        ("seed", None, "seed = None: "),
        ("model.family", "movinets", "model.family: not one of cnn_rnn, movinet"),
        ("model.weigths", "random", "model.weigths: unknown key; did you mean model.weights?"),
        ("model.fps", 7.0, "model.fps = 7.0, but a0 was made for 5; to use another, set frames.*"),
        ("frames.sampling", "first", "frames.sampling = first takes one view of a clip, its first frames; set evaluate.views=1"),
        ("evaluate.confidence", 95, "evaluate.confidence = 95: "),
    ],
)
def test_invalid_parameters_are_errors_that_name_them(key, value, message):
    with pytest.raises(UserError) as caught:
        parse_params(changed(key, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_errors_are_both_in_the_message_and_not_in_the_advice():
    content = changed("finetune.learning_rate", "fast")
    content["finetune"]["epocs"] = 3
    with pytest.raises(UserError) as caught:
        parse_params(content)
    assert caught.value.message.startswith("params.yaml: finetune.learning_rate = 'fast': ")
    assert "; finetune.epocs: unknown key (did you mean finetune.epochs?)" in caught.value.message
    assert caught.value.advice == ""


def test_the_suggestion_for_a_single_error_is_its_advice():
    with pytest.raises(UserError) as caught:
        parse_params(changed("modle", {}))
    assert (caught.value.message, caught.value.advice) == ("params.yaml: modle: unknown key", "did you mean model?")


def test_a_missing_key_is_an_error_that_names_it():
    content = composed()
    del content["frames"]["fps"]
    with pytest.raises(UserError, match=r"frames\.fps: missing"):
        parse_params(content)


def test_unreadable_files_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="not found"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1,\nb: {")
    with pytest.raises(UserError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")
