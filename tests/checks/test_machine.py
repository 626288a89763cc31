import os
import stat
from collections import namedtuple
from pathlib import Path

import pytest

from pipeline.checks import machine
from pipeline.checks.machine import check_disks, check_gpu, check_scripts, check_versions, find_gpus, free_memory, locked_versions
from tests.checks.conftest import ROOT

LOCK = """# made by uv
alpha==1.0 \\
    --hash=sha256:00
beta[extra]==2.5 ; python_version < "3" \\
    --hash=sha256:00
gamma==3.1.post1 ; sys_platform != "plan9" \\
    --hash=sha256:00
    # via alpha==9
"""


def test_the_lock_is_read_for_this_interpreter():
    assert locked_versions(LOCK) == {"alpha": "1.0", "gamma": "3.1.post1"}


def test_the_real_lock_is_read_whole():
    versions = locked_versions((ROOT / "requirements.lock").read_text())
    assert len(versions) > 150 and {"tensorflow", "mlflow", "dvc", "tf-keras"} <= set(versions)


def versions(monkeypatch, installed: dict[str, str], lock: str):
    def version(name):
        if name not in installed:
            raise machine.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(machine.metadata, "version", version)
    Path("requirements.lock").write_text(lock)
    return check_versions()


def test_versions_are_compared_with_the_lock(monkeypatch):
    lock = "tensorflow==2.20.0 \\\nalpha==1.0 \\\n"
    both = {"tensorflow": "2.20.0", "alpha": "1.0"}
    assert versions(monkeypatch, both, lock).status == "ok"
    found = versions(monkeypatch, both | {"alpha": "1.1"}, lock)
    assert found.status == "warning" and "alpha 1.1 (locked: 1.0) installed" in found.message
    found = versions(monkeypatch, {"tensorflow": "2.20.0"}, lock)
    assert found.status == "warning" and "alpha not installed" in found.message
    found = versions(monkeypatch, {"alpha": "1.0"}, lock)
    assert found.status == "problem" and "not installed: tensorflow" in found.message
    monkeypatch.setattr(machine.sys, "version_info", (3, 10, 1))
    assert versions(monkeypatch, both, lock).status == "problem"


SCRIPTS = ("#!{}\n", "#!/bin/sh\n'''exec' \"{}\" \"$0\" \"$@\"\n' '''\n")  # as pip writes them, the second for paths with spaces


@pytest.mark.parametrize(("start", "name"), zip(SCRIPTS, ("python3.11", "a python"), strict=True))
def test_an_environment_that_was_moved_or_copied_is_named(tmp_path, monkeypatch, start, name):
    made, other = tmp_path / "made/bin", tmp_path / "other/bin"
    for folder in (made, other):
        folder.mkdir(parents=True)
        (folder / name).touch()
        (folder / "dvc").write_text(start.format(made / name))
        (folder / "dvc").chmod(0o755)
    monkeypatch.setenv("PATH", str(made))
    assert check_scripts() == []
    monkeypatch.setenv("PATH", str(other))
    (found,) = check_scripts()
    assert found.status == "warning" and f"starts {made / name}:" in found.message and "make env" in found.advice
    (made / name).unlink()
    (found,) = check_scripts()
    assert found.status == "problem" and f"starts {made / name}, which does not exist" in found.message


def driver(folder: Path, monkeypatch, lines: str, seen: str) -> None:
    """Fakes the driver's tool, and an interpreter whose TensorFlow sees this number of GPUs."""
    for name, text in (("nvidia-smi", lines), ("python", seen)):
        path = folder / name
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(machine.sys, "executable", str(folder / "python"))


def test_a_gpu_that_tensorflow_sees(tmp_path, monkeypatch):
    driver(tmp_path, monkeypatch, "NVIDIA H100 80GB HBM3, 80000", "1")
    gpus = find_gpus()
    assert gpus == [("NVIDIA H100 80GB HBM3", 80000 << 20)]
    found, has_gpu = check_gpu(gpus)
    assert has_gpu and found.status == "ok" and "TensorFlow sees 1 (NVIDIA H100 80GB HBM3)" in found.message


def test_a_gpu_that_tensorflow_does_not_see(tmp_path, monkeypatch):
    driver(tmp_path, monkeypatch, "Tesla T4, 15000", "0")
    found, has_gpu = check_gpu(find_gpus())
    assert not has_gpu and found.status == "warning" and "tensorflow[and-cuda]" in found.advice


def test_no_gpu(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    found, has_gpu = check_gpu(find_gpus())
    assert not has_gpu and found.status == "ok"


def test_space_on_one_file_system_is_added_up(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage(0, 0, 10_000_000_000))
    wanted = {tmp_path / "data": 3_000_000_000, tmp_path / "not/yet/there": 2_000_000_000}
    (found,) = check_disks(wanted)
    assert found.status == "ok" and "about 5.0 GB for" in found.message and "10.0 GB free" in found.message
    assert check_disks({**wanted, tmp_path: 4_000_000_000})[0].status == "warning"
    assert check_disks({**wanted, tmp_path: 6_000_000_000})[0].status == "problem"
    monkeypatch.setattr(machine.os, "access", lambda path, mode: False)
    assert "cannot be written to" in check_disks(wanted)[0].message


def test_free_memory_is_positive_and_below_the_limit_of_a_container():
    import psutil

    assert 0 < free_memory() <= psutil.virtual_memory().total


def test_the_rate_of_a_product_is_plausible(monkeypatch):
    monkeypatch.setattr(machine, "PRODUCT_SECONDS", 0.01)
    assert 1e8 < machine.product_rate() < 1e15
