"""Imports that wait for their command: Ctrl-C in them is quiet, and a missing package comes with what to install."""

import importlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

INTERRUPTED = 130
"""Exit code."""
EXTRA = {"export": 'pip install -e ".[export]"', "benchmarks": 'pip install -e ".[export]"'}


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Within it Ctrl-C ends the process, with a line and exit code 130; for imports, which leave nothing to clean up.

    Raised inside one, KeyboardInterrupt may come out as an ImportError, or not at all. Where Ctrl-C already means
    something other than in a plain Python program, and outside the main thread, nothing changes.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def import_late(module: str, command: str, instead: str = "") -> Any:
    """The module `module` for `command`. Raises click.ClickException where a package that it needs is missing: which,
    what installs it, and what else could be done `instead`.
    """
    try:
        with ending_at_once():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        from click import ClickException  # what `empir` imports first it waits for every time

        hint = EXTRA.get(module.split(".", maxsplit=1)[0])
        if hint is None:
            raise
        raise ClickException(f"{command} needs the package {error.name}: {hint}{instead}") from error


def _end(*_: object) -> NoReturn:
    os.write(2, b"Interrupted.\n")
    os._exit(INTERRUPTED)
