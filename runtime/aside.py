"""Files written aside and renamed: each is there whole or not at all, after a kill or a power cut too."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_aside(path: Path, data: bytes) -> None:
    """Write `data` to `path`; a file there is replaced whole or not at all. Raises OSError."""
    write_aside_by(path, lambda file: file.write(data))


def write_aside_by(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """The same of what `write` writes to the open file it is given. Raises OSError, and what `write` raises."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())  # a rename may outlive a power cut that its data does not
    os.replace(scratch, path)
