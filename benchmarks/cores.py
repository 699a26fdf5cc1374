"""Cores of their own for a server and for what asks it."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager


@contextmanager
def pinned(cores: Collection[int]) -> Iterator[None]:
    """This process on these cores until the block ends; what it starts meanwhile stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def two_sides() -> tuple[list[int], list[int]]:
    """A core for the servers, and one for this process; the same where there is but one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[:1], cores[1:2] or cores
