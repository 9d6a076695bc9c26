"""What figures were measured on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

_GIB = 2**30


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def facts() -> str:
    """Processor, memory and versions, and how busy the machine was, on one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "optuna", "sqlalchemy"))
    return (
        f"{_processor()}, {cores()} cores, {memory:.0f} GiB; {platform.system()}, Python {platform.python_version()}, "
        f"{versions}; load average before it began {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
