"""How many threads this process may keep busy: the cgroup's quota, not the machine's core count."""

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def _quota_v2(root: Path, group: str) -> float | None:
    """The tightest `cpu.max` from the process's group up to the root (cgroup v2), in cores."""
    tightest: float | None = None
    path = root / group.lstrip("/")
    for directory in (path, *path.parents):
        try:
            quota, period = (directory / "cpu.max").read_text().split()
            cores = None if quota == "max" else int(quota) / int(period)
        except (OSError, ValueError):
            cores = None
        if cores is not None and (tightest is None or cores < tightest):
            tightest = cores
        if directory == root:
            break
    return tightest


def _quota_v1(root: Path, group: str) -> float | None:
    """`cpu.cfs_quota_us` over `cpu.cfs_period_us` (cgroup v1), in cores."""
    for directory in (root / "cpu" / group.lstrip("/"), root / "cpu"):
        try:
            quota = int((directory / "cpu.cfs_quota_us").read_text())
            period = int((directory / "cpu.cfs_period_us").read_text())
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:
            return quota / period
    return None


def cgroup_cores(root: Path = CGROUP_ROOT, membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores that the cgroup grants, or None where it sets no bound or cannot be read."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            cores = _quota_v2(root, group)
        elif "cpu" in controllers.split(","):
            cores = _quota_v1(root, group)
        else:
            continue
        if cores is not None:
            return cores
    return None


def thread_budget() -> int:
    """Threads over all sessions: the smaller of the affinity mask and the cgroup's quota, rounded up; at least 1."""
    available = len(os.sched_getaffinity(0))
    quota = cgroup_cores()
    return available if quota is None else max(1, min(available, math.ceil(quota)))
