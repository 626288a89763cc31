"""Checks of this machine: the installed versions, GPUs, memory, disks, and the speed of its arithmetic."""

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import psutil
from packaging.requirements import Requirement

from pipeline.check_results import CheckResult, listed, ok, problem, warning

LOCK = Path("requirements.lock")
SUPPORTED = ((3, 11), (3, 12))
NEEDED = ("tensorflow", "tf-keras", "tf-models-official", "dvc", "hydra-core", "mlflow")
REMAKE = "make it again: rm -r .venv && make env"
# The start of a program of an environment; where the path has spaces or is long, pip has a shell start Python.
_INTERPRETER = re.compile(r"""#!(?:(/\S*python\S*)|/bin/sh\n'{3}exec' (?:"(/[^"\n]+)"|(/\S+)) )""")
PRODUCT_SIDE = 1024  # rows and columns of the matrices whose product is timed
PRODUCT_SECONDS = 0.8
_CGROUP = Path("/sys/fs/cgroup")


class Gpu(NamedTuple):
    """A GPU, as its driver describes it. free: bytes of memory."""

    name: str
    free: int


def locked_versions(text: str) -> dict[str, str]:
    """The versions in requirements.lock that apply to this interpreter and system, by package."""
    pinned = (Requirement(line.rstrip(" \\")) for line in text.splitlines() if re.match(r"\w", line))
    return {one.name: str(one.specifier).removeprefix("==") for one in pinned if one.marker is None or one.marker.evaluate()}


def check_versions() -> CheckResult:
    """Compares Python and every installed package with requirements.lock."""
    python = platform.python_version()
    if sys.version_info[:2] not in SUPPORTED:
        return problem("versions", f"Python {python}; the locked TensorFlow needs 3.11 or 3.12", "make env PYTHON=python3.12")
    if not LOCK.is_file():
        return warning("versions", f"Python {python}; {LOCK} is absent, so versions cannot be compared", "git checkout it")
    locked = locked_versions(LOCK.read_text(encoding="utf-8"))
    installed = {name: _installed_version(name) for name in locked}
    absent = [name for name in locked if installed[name] is None]
    differing = [name for name, version in locked.items() if installed[name] not in (None, version)]
    other = [f"{name} {installed[name]} (locked: {locked[name]})" for name in differing]
    advice = "make env, or pip install --require-hashes -r requirements.lock"
    missing = [name for name in NEEDED if name in absent]
    if missing:
        return problem("versions", f"not installed: {', '.join(missing)}", advice)
    if absent or other:
        parts = [f"{listed(names)} {what}" for names, what in ((absent, "not installed"), (other, "installed")) if names]
        return warning("versions", f"not as in {LOCK}: {'; '.join(parts)}", advice)
    return ok("versions", f"Python {python}, TensorFlow {metadata.version('tensorflow')}, all as in {LOCK}")


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_scripts() -> list[CheckResult]:
    """Checks that `dvc` starts the Python next to it: that of a moved or copied environment starts the one of the original."""
    script = shutil.which("dvc")
    started = _INTERPRETER.match(Path(script).read_bytes()[:1000].decode(errors="replace")) if script else None
    if started is None:
        return []
    interpreter = Path(started[1] or started[2] or started[3])
    if interpreter.parent.resolve() == Path(script).resolve().parent:
        return []
    if interpreter.exists():
        message = f"{script} starts {interpreter}: this environment is a copy, and runs the packages of the original"
        return [warning("versions", message, REMAKE)]
    return [problem("versions", f"{script} starts {interpreter}, which does not exist: this environment was moved", REMAKE)]


def find_gpus() -> list[Gpu]:
    """The NVIDIA GPUs that the driver lists; empty without a driver."""
    query = ["nvidia-smi", "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        return []
    rows = [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [Gpu(row[0], int(row[1]) << 20) for row in rows if len(row) == 2 and row[1].isdigit()]


def check_gpu(gpus: list[Gpu]) -> tuple[CheckResult, bool]:
    """Checks whether TensorFlow uses a GPU; imports it, in another process, only if the driver lists one."""
    if not gpus:
        return ok("gpu", f"none found; TensorFlow runs on {cores()} cores"), False
    code = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    seen = int(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout.split() else 0
    names = ", ".join(sorted({gpu.name for gpu in gpus}))
    if seen == 0:
        advice = ".venv/bin/pip install 'tensorflow[and-cuda]==2.20.*', or run on the processor with CUDA_VISIBLE_DEVICES="
        return warning("gpu", f"the driver lists {names}, but TensorFlow does not see it", advice), False
    return ok("gpu", f"TensorFlow sees {seen} ({names})"), True


def cores() -> int:
    return joblib.cpu_count()


def free_memory() -> int:
    """Bytes that are available in the system, or within the limit of a container."""
    free = psutil.virtual_memory().available
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        cache = re.search(r"^inactive_file (\d+)", (_CGROUP / "memory.stat").read_text(), re.MULTILINE)
        free = min(free, int(limit.read_text()) - int(used.read_text()) + (int(cache[1]) if cache else 0))
    return free


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def check_disks(needed: dict[Path, int]) -> list[CheckResult]:
    """Checks that each file system has room. needed: bytes by folder; folders of one file system are added up."""
    systems: dict[int, list[Path]] = {}
    for folder in needed:
        systems.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    results = []
    for folders in systems.values():
        need, free = sum(needed[folder] for folder in folders), shutil.disk_usage(_existing(folders[0])).free
        line = f"about {need / 1e9:,.1f} GB for {' and '.join(map(str, folders))}, {free / 1e9:,.1f} GB free"
        readonly = [str(folder) for folder in folders if not os.access(_existing(folder), os.W_OK)]
        if readonly:
            results.append(problem("disk", f"{', '.join(readonly)} cannot be written to", "make it writable"))
        elif need > free:
            advice = "free some space, choose fewer classes or clips, or put the repository on a larger disk"
            results.append(problem("disk", line, advice))
        else:
            results.append(warning("disk", line, "it may become tight") if need > 0.8 * free else ok("disk", line))
    return results


def product_rate() -> float:
    """Floating point operations per second of a float32 matrix product on all cores; takes about a second."""
    matrix = np.random.default_rng(0).random((PRODUCT_SIDE, PRODUCT_SIDE), np.float32)
    matrix @ matrix
    products, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < PRODUCT_SECONDS:
        matrix @ matrix
        products += 1
    return 2 * PRODUCT_SIDE**3 * products / elapsed
