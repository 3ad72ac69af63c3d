"""What this process may take of its machine: cores and memory, a container's limits included."""

import os
from math import ceil
from pathlib import Path

import psutil

MEGABYTE = 1024.0 * 1024.0
CGROUP = Path("/sys/fs/cgroup")  # version 2, as a container sees its own limits


def n_cores(cgroup: Path = CGROUP) -> int:
    """Cores this process may use, at least 1; of a container limited to one and a half, two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _words(cgroup / "cpu.max")  # microseconds in each period, such as "150000 100000"
    if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit() and int(quota[1]) > 0:
        cores = min(cores, ceil(int(quota[0]) / int(quota[1])))
    return max(cores, 1)


def free_memory_mb(cgroup: Path = CGROUP) -> float:
    """Memory that could be taken without swapping, or without going over the container's limit."""
    free = psutil.virtual_memory().available / MEGABYTE
    limit, used = _words(cgroup / "memory.max"), _words(cgroup / "memory.current")
    if limit and limit[0].isdigit() and used and used[0].isdigit():
        # Of what counts as used, files read long ago are given up first.
        words = _words(cgroup / "memory.stat")
        spare = dict(zip(words[::2], words[1::2], strict=False)).get("inactive_file", "0")
        left = int(limit[0]) - int(used[0]) + (int(spare) if spare.isdigit() else 0)
        free = min(free, max(left, 0) / MEGABYTE)
    return free


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
