"""How many cores a process may use."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import torch


def usable_cores(control_group: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may run on, rounded up: what its affinity and its control group (cgroup v2 or v1) allow.

    Args:
        control_group: where the kernel tells the limits of the process, in a container those of the container.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    older = control_group / "cpu"
    quotas = _quota(control_group / "cpu.max"), _quota(older / "cpu.cfs_quota_us", older / "cpu.cfs_period_us")
    return min([cores, *(quota for quota in quotas if quota is not None)])


def _quota(*files: Path) -> int | None:
    """Cores that files allow whose numbers are the microseconds to use, and of each period; None: no limit is
    given."""
    try:
        quota, period = (int(number) for file in files for number in file.read_text().split())
    except (OSError, ValueError):  # another version of control groups, or "max"
        return None
    return max(-(-quota // period), 1) if quota > 0 else None


@lru_cache(maxsize=1)
def limit_threads() -> None:
    """Let torch have no more threads than cores, once in a process.

    It looks at the affinity alone: in a container that may use 2 of 64 cores it would start 64 threads, which wait for
    each other actively until the container is stopped for the rest of the period. The environment variable
    OMP_NUM_THREADS, and `torch.set_num_threads` later on, have the last word.
    """
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())
