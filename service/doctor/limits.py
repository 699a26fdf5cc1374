"""What the machine lets the server have: open files, memory, processor time."""

from dataclasses import dataclass
from pathlib import Path

from service.doctor.finding import Finding, ok, warn

FEW_FILES = 1024
MOST_MEMORY_KNOWN = 1 << 60
"""cgroups of the first version say a number of this size where there is no limit."""
SERVER_BYTES = 300_000_000
"""What the server and its probe process hold with small bundles; each also holds the graphs it serves."""


@dataclass(frozen=True)
class Cgroup:
    """The limits of the control group that this process is in; None where there is none."""

    cpus: float | None
    memory_bytes: int | None

    @classmethod
    def of_process(cls, root: Path = Path("/")) -> "Cgroup":
        """The tightest limit from this process's group up to the root, of either version of cgroups."""
        folders = _folders(root)
        cpus = [limit for folder in folders if (limit := _cpus(folder)) is not None]
        memory = [limit for folder in folders if (limit := _memory(folder)) is not None]
        return cls(min(cpus, default=None), min(memory, default=None))


def open_files(soft: int | None) -> Finding:
    """The limit on open files; each connection takes one. None where there is none."""
    found = f"{'any number of' if soft is None else f'{soft:,}'} open files"
    if soft is None or soft >= FEW_FILES:
        return ok("open files", found)
    return warn("open files", f"{found}: as many connections at most", f"ulimit -n {4 * FEW_FILES}, before empir serve")


def processor_time(cpus: float | None, cores: int) -> Finding:
    """The control group's share of processor time beside the cores that are seen."""
    if cpus is None:
        return ok("processor time", "no limit")
    found = f"the control group allows {cpus:g} CPUs, {cores} cores are seen"
    if cpus >= cores:
        return ok("processor time", found)
    return warn(
        "processor time",
        f"{found}: members run side by side and are then stopped until the next period",
        f"Show the server no more cores than it gets: taskset -c 0-{max(1, int(cpus)) - 1}, or cpuset-cpus",
    )


def memory(available_bytes: int | None, graph_bytes: int) -> Finding:
    """Memory that can be had beside what the server and its probe process are about to hold."""
    needed = SERVER_BYTES + 2 * graph_bytes
    if available_bytes is None:
        return ok("memory", f"about {needed / 1e6:,.0f} MB are needed; how much there is, is not known")
    found = f"{available_bytes / 1e6:,.0f} MB available, about {needed / 1e6:,.0f} MB needed"
    if available_bytes >= needed:
        return ok("memory", found)
    return warn("memory", found, "Serve fewer bundles, or give it more memory: the system ends what asks for too much")


def available_memory(limit: int | None, root: Path = Path("/")) -> int | None:
    """Bytes: the machine's, or the control group's limit where that is less; None where neither is known."""
    try:
        lines = (root / "proc/meminfo").read_text(encoding="utf-8").splitlines()
        machine = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return limit
    return machine if limit is None else min(machine, limit)


def files_limit() -> int | None:
    """The soft limit on open files; None where there is none, or no such thing."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _folders(root: Path) -> list[Path]:
    """Where limits of this process may stand."""
    mounted, found = root / "sys/fs/cgroup", []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        names = [""] if not controllers else [name for name in controllers.split(",") if name in ("cpu", "memory")]
        for name in names:
            relative = Path(path.lstrip("/"))
            found += [mounted / name / part for part in (relative, *relative.parents)]
    return found


def _cpus(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:  # `max`, -1 or nothing: no limit
        return None
    return int(quota) / int(period)


def _memory(folder: Path) -> int | None:
    limit = _text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")
    return int(limit) if limit.isdigit() and int(limit) < MOST_MEMORY_KNOWN else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
