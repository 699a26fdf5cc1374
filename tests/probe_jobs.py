"""Probe jobs that tests can see on their way, and a probe process that stands still."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from service.probe_process import Job, ProbeProcess
from service.worker import RemoteProbes


@dataclass(frozen=True)
class Announced(Job):
    """A job that says when it is sent to the probe process."""

    sent: threading.Event

    def __reduce__(self) -> tuple[Any, ...]:
        self.sent.set()
        return Job, (self.folder, self.version, self.image, self.parameters)


@contextmanager
def stopped(probes: ProbeProcess | RemoteProbes) -> Iterator[int]:
    """The id of the process, which stands still in this block: a probe takes as long as the test wants."""
    pid = probes.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def exists(pid: int) -> bool:
    """Whether there is a process of this id, which may be a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
