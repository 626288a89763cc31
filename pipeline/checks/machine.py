"""What this machine has: the software that was locked, GPUs, memory, room on its disks, and how fast it multiplies."""

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

import numpy as np
import psutil

from pipeline.check_results import CheckResult, listed, ok, problem, warning

LOCK = Path("requirements.lock")
SUPPORTED = ((3, 11), (3, 12))
NEEDED = ("tensorflow", "tf-keras", "tf-models-official", "dvc", "hydra-core", "mlflow")
PRODUCT_SIDE = 1024  # rows and columns of the matrices whose product is timed
PRODUCT_SECONDS = 0.8


class Gpu(NamedTuple):
    """A GPU as its driver states it. memory, free: bytes."""

    name: str
    memory: int
    free: int


def locked_versions(text: str) -> dict[str, str]:
    """The versions in requirements.lock that this interpreter and system are to have, by package."""
    from packaging.markers import Marker

    versions = {}
    for name, version, marker in re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\\n]+))?", text, re.MULTILINE):
        if not marker or Marker(marker.strip()).evaluate():
            versions[name] = version
    return versions


def check_versions() -> CheckResult:
    """Python's version, and every locked package beside what is installed."""
    python = platform.python_version()
    if sys.version_info[:2] not in SUPPORTED:
        return problem("versions", f"Python {python}; the locked TensorFlow needs 3.11 or 3.12", "make env PYTHON=python3.12")
    if not LOCK.is_file():
        return warning("versions", f"Python {python}; {LOCK} is absent, so versions cannot be compared", "git checkout it")
    absent, other = [], []
    for name, version in locked_versions(LOCK.read_text(encoding="utf-8")).items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if found != version:
            other.append(f"{name} {found} (locked: {version})")
    advice = "make env, or pip install --require-hashes -r requirements.lock"
    missing = [name for name in NEEDED if name in absent]
    if missing:
        return problem("versions", f"not installed: {', '.join(missing)}", advice)
    if absent or other:
        parts = [f"{listed(names)} {what}" for names, what in ((absent, "not installed"), (other, "installed")) if names]
        return warning("versions", f"not as in {LOCK}: {'; '.join(parts)}", advice)
    return ok("versions", f"Python {python}, TensorFlow {metadata.version('tensorflow')}, all as in {LOCK}")


def find_gpus() -> list[Gpu]:
    """The NVIDIA GPUs that the driver lists; none without a driver."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        return []
    rows = [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [Gpu(row[0], int(row[1]) << 20, int(row[2]) << 20) for row in rows if len(row) == 3 and row[1].isdigit()]


def check_gpu(gpus: list[Gpu]) -> tuple[CheckResult, bool]:
    """Whether TensorFlow uses a GPU. Its import is paid for only where there is one to be used."""
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
    import joblib

    return joblib.cpu_count()


def free_memory() -> int:
    """Bytes that can be had: what the system has available, or what a container's limit leaves."""
    free = psutil.virtual_memory().available
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        cache = re.search(r"^inactive_file (\d+)", Path("/sys/fs/cgroup/memory.stat").read_text(), re.MULTILINE)
        free = min(free, int(limit.read_text()) - int(used.read_text()) + (int(cache[1]) if cache else 0))
    return free


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    path = path.absolute()
    return path if path.exists() else next(folder for folder in path.parents if folder.exists())


def check_disks(wanted: dict[Path, int]) -> list[CheckResult]:
    """Whether each file system has room for what goes to it. wanted: bytes by folder; folders of one file system are added up."""
    systems: dict[int, list[Path]] = {}
    for folder in wanted:
        systems.setdefault(existing(folder).stat().st_dev, []).append(folder)
    found = []
    for folders in systems.values():
        names, need = " and ".join(map(str, folders)), sum(wanted[folder] for folder in folders)
        readonly = [str(folder) for folder in folders if not os.access(existing(folder), os.W_OK)]
        free = shutil.disk_usage(existing(folders[0])).free
        line = f"about {need / 1e9:,.1f} GB for {names}, {free / 1e9:,.1f} GB free"
        if readonly:
            found.append(problem("disk", f"{', '.join(readonly)} cannot be written to", "make it writable"))
        elif need > free:
            advice = "free some space, choose fewer classes or clips, or put the repository on a larger disk"
            found.append(problem("disk", line, advice))
        else:
            found.append(warning("disk", line, "it may become tight") if need > 0.8 * free else ok("disk", line))
    return found


def product_rate() -> float:
    """Floating point operations a second of a float32 matrix product on all cores; takes about a second."""
    one = np.random.default_rng(0).random((PRODUCT_SIDE, PRODUCT_SIDE), np.float32)
    one @ one
    products, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < PRODUCT_SECONDS:
        one @ one
        products += 1
    return 2 * PRODUCT_SIDE**3 * products / passed
