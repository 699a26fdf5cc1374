"""The machine that a run was made on, for who reads its figures."""

import os
import platform
from pathlib import Path


def machine() -> dict[str, str]:
    """Processor, cores, system, Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "processor": _processor(),
        "cores": f"{os.cpu_count()}, the load generator on {cores}",
        "load average": _load(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }


def pin(core: int | None) -> None:
    """Keep this process on one core. Raises ValueError if there is no such core."""
    if core is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError("--core: this system pins no processes")
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        raise ValueError(f"--core: expected one of {sorted(os.sched_getaffinity(0))}, got {core}") from error


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f} before the run" if hasattr(os, "getloadavg") else "not told"
