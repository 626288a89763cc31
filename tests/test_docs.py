"""The commands of README.md and docs/ exist and compose; the site builds; its parameters are those of conf/."""

import contextlib
import importlib
import importlib.util
import io
import itertools
import re
import shlex
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tests.test_params import composed

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = ("commands.", "stages.", "benchmarks.")


def shell_commands() -> list[tuple[str, list[str]]]:
    """(page, words) of each line of the shell blocks, with continued lines joined and comments left out, and of inline code."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"(?ms)^```sh\n(.*?)^```", text)
        inline = re.findall(r"`((?:python -m|dvc exp run) [^`]*)`", re.sub(r"(?ms)^```.*?^```", "", text))
        for block in [*blocks, *(code.replace("\n", " ") for code in inline)]:
            for line in re.sub(r"\\\n", " ", block).splitlines():
                with contextlib.suppress(ValueError):  # a quote that is closed on a later line
                    words = shlex.split(line, comments=True)
                    if words:
                        found.append((page.name, words))
    return found


COMMANDS = shell_commands()
UNDOCUMENTED = {"model.family", "model.id"}  # set by the choice of a model


def experiments() -> list[tuple[str, list[str]]]:
    """(page, overrides) of each `dvc exp run`."""
    found = []
    for page, words in COMMANDS:
        if words[:3] == ["dvc", "exp", "run"]:
            overrides = [words[place + 1] for place, word in enumerate(words) if word in ("-S", "--set-param")]
            if overrides != ["key=value"]:  # how to set any
                found.append((page, overrides))
    return found


def invocations() -> dict[str, set[str]]:
    """The options that the pages give to each module that is run with `python -m`."""
    found: dict[str, set[str]] = {}
    for _, words in COMMANDS:
        if words[:2] == ["python", "-m"] and words[2].startswith(MODULES) and "<" not in words[2]:
            options = {word.split("=")[0] for word in words[3:] if word.startswith("--")}
            found.setdefault(words[2], set()).update(options)
    return found


def test_the_pages_show_commands():
    assert len(experiments()) > 10 and len(invocations()) > 8


@pytest.mark.parametrize(
    ("page", "overrides"), experiments(), ids=lambda value: " ".join(value) if isinstance(value, list) else value
)
def test_each_experiment_of_the_pages_composes(page, overrides):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    choices = []
    for text in overrides:
        override = parser.parse_override(text)
        values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [None]
        choices.append([text if value is None else f"{override.key_or_group}={value}" for value in values])
    for chosen in itertools.product(*choices):
        with initialize_config_dir(str(CONF), version_base=None):
            OmegaConf.to_container(compose("config", overrides=list(chosen)), resolve=True)


@pytest.mark.parametrize("module", sorted(invocations()))
def test_each_command_of_the_pages_knows_its_options(module, monkeypatch):
    assert importlib.util.find_spec(module) is not None
    if module == "commands.sweep":
        return  # Hydra's own, see below
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    printed = io.StringIO()
    with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(printed):
        importlib.import_module(module).main()
    assert not ended.value.code
    assert {option for option in invocations()[module] if option not in printed.getvalue()} == set()


@pytest.mark.parametrize(
    "words", [words[3:] for _, words in COMMANDS if words[:3] == ["python", "-m", "commands.sweep"]], ids=" ".join
)
def test_each_sweep_of_the_pages_composes(words):
    fixed = [word for word in words if not word.startswith("-") and "," not in word]
    swept = [f"{word.split('=')[0]}={value}" for word in words if "," in word for value in word.split("=")[1].split(",")]
    for extra in swept or [None]:
        with initialize_config_dir(str(CONF), version_base=None):
            compose("sweep", overrides=fixed + ([] if extra is None else [extra]), return_hydra_config=True)


def test_the_site_builds_with_every_link_resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    monkeypatch.chdir(ROOT)
    build(load_config("mkdocs.yml", site_dir=str(tmp_path / "site"), strict=True))
    start = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert "Two commands" in start
    assert "learning_rate" in (tmp_path / "site/parameters/index.html").read_text(encoding="utf-8")


def parameters_module():
    specification = importlib.util.spec_from_file_location("parameters_of_the_site", ROOT / "docs/parameters.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def test_the_page_of_parameters_has_every_key_with_its_meaning():
    module = parameters_module()
    paths = [(CONF / "config.yaml", "")] + [
        (path, group)
        for group in ("data", "model", "finetune", "cluster", "export")
        for path in sorted((CONF / group).glob("*.yaml"))
    ]
    found = {one.key: one for path, section in paths for one in module.read_parameters(path, section) if one.meaning}

    def leaves(content: dict, above: str = ""):
        for key, value in content.items():
            if isinstance(value, dict) and f"{above}{key}" not in found:
                yield from leaves(value, f"{above}{key}.")
            else:
                yield f"{above}{key}"

    missing = {key for key in leaves(composed()) if key not in found}
    assert missing - UNDOCUMENTED == set()
    assert found["evaluate.bins"].default == "15" and "Guo et al." in found["evaluate.bins"].meaning
    assert found["finetune.unknown.by"].default == "coverage"
