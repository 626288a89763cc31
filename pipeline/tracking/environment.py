"""What a classifier was trained with and on: recorded in `models/run.json`, copied by evaluate, shown by the report."""

import os
import platform
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from pipeline.tracking.provenance import code_state

# Of the packages, those that decide the results.
DECIDING = (
    "tensorflow",
    "tf-keras",
    "tf-models-official",
    "numpy",
    "av",
    "opencv-python-headless",
    "openvino",
    "scikit-learn",
    "pandas",
)


def environment(gpus: Sequence[str] = ()) -> dict[str, Any]:
    """Of this process, as JSON has it, without importing TensorFlow.

    Args:
      gpus: names of those that are used; only TensorFlow knows.

    Returns:
      python, platform, processor, cores, memory_gb, gpus; commit: of the code, None outside git; changed: whether the code
      differs from that commit; packages: version by name of all that is installed.
    """
    commit, changed = code_state()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpus": list(gpus),
        "commit": commit,
        "changed": changed,
        "packages": dict(sorted(_packages())),
    }


def _packages() -> set[tuple[str, str]]:
    """Name and version of what is installed. Of the metadata only these lines are parsed: the whole of it takes half a second."""
    found = set()
    for package in metadata.distributions():
        header = (package.read_text("METADATA") or package.read_text("PKG-INFO") or "").partition("\n\n")[0]
        lines = dict(re.findall(r"^(Name|Version): *(.*?) *$", header, re.MULTILINE))
        if len(lines) == 2:
            found.add((lines["Name"].lower().replace("_", "-"), lines["Version"]))
    return found


def _processor() -> str:
    """The processor's name from Linux, else from Python."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def shown(made_with: dict[str, Any]) -> dict[str, str]:
    """An environment for people: what decides the results, without the other packages."""
    gpus, commit = made_with["gpus"], made_with["commit"]
    rows = {
        "code": "not in git" if commit is None else f"commit {commit}{', changed since' if made_with['changed'] else ''}",
        "processor": f"{made_with['processor']}, {made_with['cores']} cores, {made_with['memory_gb']} GB",
        "GPUs": ", ".join(gpus) if gpus else "none used",
        "platform": made_with["platform"],
        "Python": made_with["python"],
    }
    return rows | {name: made_with["packages"].get(name, "not installed") for name in DECIDING}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, of one, of the other) of each difference in code, machine and packages. GPUs and memory are left out."""
    pairs = [(name, shown(one)[name], shown(other)[name]) for name in ("code", "platform", "Python")]
    pairs.append(("processor", *(f"{each['processor']}, {each['cores']} cores" for each in (one, other))))
    for name in sorted(one["packages"].keys() | other["packages"].keys()):
        pairs.append((name, *(each["packages"].get(name, "not installed") for each in (one, other))))
    return [pair for pair in pairs if pair[1] != pair[2]]
