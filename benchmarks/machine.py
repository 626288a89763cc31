"""What the numbers were measured on."""

import importlib.metadata
import os
import platform
from pathlib import Path

import joblib
import psutil


def _processor() -> str:
    """The processor's name as Linux states it, else what Python knows."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe_machine() -> dict:
    """Cores that may be used, processor, memory in GB, system load before the start, versions, and whether oneDNN is on."""
    return {
        "cores": joblib.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "tensorflow": importlib.metadata.version("tensorflow"),
        "opencv": importlib.metadata.version("opencv-python-headless"),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1 (TensorFlow's default)"),
    }


def machine_line(machine: dict) -> str:
    return (
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gb']} GB, TensorFlow {machine['tensorflow']}, "
        f"oneDNN {machine['onednn']}, load before the start {machine['load_before']}"
    )
