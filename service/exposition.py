"""`/metrics` as text: of this process alone, or the totals of all workers."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own: where it stands, processes share their metrics through a folder."""
_LIVE = re.compile(r"gauge_live\w+_(\d+)\.db")


def exposition(registry: CollectorRegistry) -> bytes:
    """Everything in a registry and about the process; where workers share a folder of metrics, their totals."""
    shared = os.environ.get(FOLDER_VARIABLE)
    about = CollectorRegistry()
    PlatformCollector(registry=about)
    if shared is None:
        ProcessCollector(registry=about)
        return generate_latest(registry) + generate_latest(about)
    MultiProcessCollector(about, shared)  # type: ignore[no-untyped-call]
    about.register(Workers(Path(shared)))
    try:
        return generate_latest(about)
    except FileNotFoundError:  # those of a worker that never served went between their names and their content
        return generate_latest(about)


class Workers(Collector):
    """Memory and processor time of the workers that run, together, and how many they are."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared

    def collect(self) -> Iterable[Metric]:
        """Raises nothing: a worker that ends meanwhile counts no more."""
        pids = {found[1] for path in self._shared.iterdir() if (found := _LIVE.fullmatch(path.name))}
        used = [use for pid in pids if (use := _use(Path("/proc") / pid)) is not None]
        yield GaugeMetricFamily("empir_workers", "Worker processes that run.", len(used))
        memory = sum(bytes_ for bytes_, _ in used)
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory of all workers, in bytes.", memory)
        seconds = sum(seconds for _, seconds in used)
        yield CounterMetricFamily("process_cpu_seconds", "Processor time of all workers, in seconds.", seconds)


def _use(process: Path) -> tuple[int, float] | None:
    try:
        fields = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        pages = int((process / "statm").read_text(encoding="utf-8").split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE"), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
