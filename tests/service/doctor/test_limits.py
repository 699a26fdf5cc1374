"""Limits of the machine, read from files as Linux writes them."""

from pathlib import Path

import pytest

from service.doctor.limits import Cgroup, available_memory, memory, open_files, processor_time

V2 = {"proc/self/cgroup": "0::/a/b\n"}
V1 = {"proc/self/cgroup": "4:memory:/a\n3:cpuset:/\n2:cpu,cpuacct:/a\n0::/\n"}
PERIOD = "sys/fs/cgroup/cpu/a/cpu.cfs_period_us"
ENDLESS = "9223372036854771712"


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cpus", "memory_bytes"),
    [
        ({}, None, None),
        (V2, None, None),
        ({**V2, "sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, None, None),
        ({**V2, "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5, None),
        ({**V2, "sys/fs/cgroup/a/cpu.max": "50000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 0.5, None),
        ({**V2, "sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/b/memory.max": "2000\n"}, None, 1000),
        ({**V1, "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1\n", PERIOD: "100000\n"}, None, None),
        ({**V1, "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "200000\n", PERIOD: "100000\n"}, 2.0, None),
        ({**V1, "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "3000\n"}, None, 3000),
        ({**V1, "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{ENDLESS}\n"}, None, None),
    ],
    ids=[
        "none",
        "nothing",
        "max",
        "quota",
        "parent quota",
        "parent memory",
        "v1 -1",
        "v1 quota",
        "v1 memory",
        "v1 all",
    ],
)
def test_the_tightest_limit_counts(
    tmp_path: Path, files: dict[str, str], cpus: float | None, memory_bytes: int | None
) -> None:
    assert Cgroup.of_process(written(tmp_path, files)) == Cgroup(cpus, memory_bytes)


def test_memory_is_the_machines_or_the_groups_whichever_is_less(tmp_path: Path) -> None:
    written(tmp_path, {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2000 kB\n"})
    assert available_memory(None, tmp_path) == 2_048_000
    assert available_memory(1000, tmp_path) == 1000
    assert available_memory(None, tmp_path / "elsewhere") is None


def test_levels() -> None:
    assert [open_files(limit).level for limit in (None, 1024, 256)] == ["ok", "ok", "warn"]
    assert [processor_time(cpus, 2).level for cpus in (None, 2.0, 1.5)] == ["ok", "ok", "warn"]
    assert [memory(free, 10**8).level for free in (None, 5 * 10**8, 4 * 10**8)] == ["ok", "ok", "warn"]


def test_the_advice_fits_the_share() -> None:
    assert "taskset -c 0-0," in processor_time(0.5, 4).advice
    assert "taskset -c 0-2," in processor_time(3.9, 4).advice
