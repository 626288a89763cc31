"""Pages that MkDocs makes when it builds the site: the start page from README.md, all parameters from conf/, and the notebook."""

import re
from pathlib import Path
from typing import NamedTuple

import jupytext
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
NOTEBOOK = ROOT / "notebooks" / "finished_run.py"
HOW_TO_OPEN = """It is `notebooks/finished_run.py`, a notebook in jupytext's format: VS Code runs its cells as it is, and
JupyterLab opens it after `pip install jupyterlab` (right click, *Open With*, *Notebook*). To keep it with its outputs:

```sh
jupytext --to ipynb notebooks/finished_run.py
jupyter execute --inplace notebooks/finished_run.ipynb
```"""
GROUPS = ("data", "model", "finetune", "cluster", "export", "sweep", "experiment")
LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w.]+):(?:\s+(?P<value>[^#]*?))?\s*(?:#\s*(?P<comment>.*))?$")


class Parameter(NamedTuple):
    """One line of a configuration file. key: with its sections, `data.split.seed`. default: as written there."""

    key: str
    default: str
    meaning: str


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs."""
    start = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=start))
    files.append(File.generated(config, "parameters.md", content=parameters_page()))
    files.append(File.generated(config, "notebook.md", content=notebook_page()))
    return files


def notebook_page() -> str:
    """The text and the code of the notebook, which needs a run to show more."""
    title, *cells = jupytext.read(NOTEBOOK).cells
    parts = [title.source, HOW_TO_OPEN]
    return "\n\n".join(
        [*parts, *(one.source if one.cell_type == "markdown" else f"```python\n{one.source}\n```" for one in cells)]
    )


def read_parameters(path: Path, section: str = "") -> list[Parameter]:
    """The commented parameters of a file below conf/; those of a group's file are in the section `section`."""
    found: list[Parameter] = []
    parents: list[tuple[int, str]] = [(-1, section)] if section else []
    skipping = -1  # indent of `defaults` and `hydra`, which are not parameters
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if found and line.startswith("   ") and text.startswith("#"):  # a comment that goes on
            found[-1] = found[-1]._replace(meaning=f"{found[-1].meaning} {text.lstrip('# ')}")
            continue
        match = LINE.match(line)
        if match is None:
            continue
        indent, key = len(match["indent"]), match["key"]
        if 0 <= skipping < indent:
            continue
        skipping = indent if key in ("defaults", "hydra") else -1
        if skipping >= 0:
            continue
        while parents and parents[-1][0] >= indent:
            parents.pop()
        name = ".".join([parent for _, parent in parents] + [key])
        if not match["value"]:
            parents.append((indent, key))
        if match["value"] or match["comment"]:
            found.append(Parameter(name, match["value"] or "", match["comment"] or ""))
    return found


def describe(path: Path) -> str:
    """The comment at the head of a configuration file, as one line."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(parameters: list[Parameter]) -> list[str]:
    rows = [f"| `{one.key}` | {f'`{_cell(one.default)}`' if one.default else ''} | {_cell(one.meaning)} |" for one in parameters]
    return ["| key | default | meaning |", "|---|---|---|", *rows, ""]


def parameters_page() -> str:
    """All parameters as Markdown: those of config.yaml by section, then the choices of each group."""
    lines = [
        "# All parameters",
        "",
        "From the files in `conf/`, whose comments these are. `-S key=value` sets one; `-S group=name`",
        "chooses a group's file.",
        "",
    ]
    sections: dict[str, list[Parameter]] = {}
    for parameter in read_parameters(CONF / "config.yaml"):
        sections.setdefault(parameter.key.split(".")[0], []).append(parameter)
    for section, parameters in sections.items():
        lines += [f"## {section}", "", *_table(parameters)]
    for group in GROUPS:
        lines += [f"## {group}", "", "| choice | |", "|---|---|"]
        paths = sorted((CONF / group).glob("*.yaml"))
        lines += [f"| `{group}={path.stem}` | {_cell(describe(path))} |" for path in paths if describe(path)]
        lines.append("")
        for path in paths:
            parameters = [one for one in read_parameters(path, group) if one.meaning]
            if parameters and group != "experiment":
                lines += [f"### {group}/{path.name}", "", *_table(parameters)]
    return "\n".join(lines)
