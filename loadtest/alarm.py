"""Waking a selector on time: epoll knows milliseconds, a Linux timer microseconds."""

import ctypes
import os
import sys

CLOCK_MONOTONIC = 1
NONBLOCK = 0o4000
SHORTEST_S = 1e-9
"""A timer of 0 is one that is switched off."""


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("value", _Time))


class Alarm:
    """A timer as a file descriptor, to be registered for reading; `fd` is None where there is no such thing."""

    def __init__(self) -> None:
        self.fd: int | None = None
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            found = self._libc.timerfd_create(CLOCK_MONOTONIC, NONBLOCK)
            self.fd = found if found >= 0 else None
        self._setting = _Setting()

    def set(self, delay: float) -> float | None:
        """Ring once in `delay` seconds, and not before; the timeout for the selector: None where the timer wakes it.

        Setting it again silences it.
        """
        if self.fd is None:
            return max(0.0, delay)
        nanoseconds = round(1e9 * max(SHORTEST_S, delay))
        self._setting.value.seconds, self._setting.value.nanoseconds = divmod(nanoseconds, 10**9)
        self._libc.timerfd_settime(self.fd, 0, ctypes.byref(self._setting), None)
        return None

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
