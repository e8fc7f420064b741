"""What figures were taken on: the machine, the versions and the state of the source."""

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("onnxruntime", "grpcio", "ngh2", "uvloop", "numpy", "protobuf", "cython")


def host() -> dict[str, Any]:
    """By name; what cannot be found out is left out."""
    found: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "cores_share": _siblings(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "changed_files": len((_git("status", "--porcelain", "--untracked-files=no") or "").splitlines()),
        "load_average": os.getloadavg()[0],
        "unix_s": int(time.time()),
    }
    return {name: value for name, value in found.items() if value is not None}


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine()
    )


def _siblings() -> str | None:
    """The processors that share a core with the first one, as the kernel lists them."""
    file = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
    return file.read_text().strip() if file.exists() else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
