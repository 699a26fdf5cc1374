"""A file of named arrays, NumPy's npz, from whoever: read whole, without unpickling anything."""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EmpirError


def read_arrays(path: Path, refused: Callable[[str], EmpirError]) -> dict[str, NDArray[Any]]:
    """The arrays by name. Raises what `refused` makes of the words why it cannot be read."""
    try:
        with zipfile.ZipFile(path):  # NumPy takes whatever is no zip for a single array, or for a pickle
            pass
        with np.load(path, allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}
    except OSError as error:
        raise refused(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise refused(f"{path}: expected NumPy's npz without pickled objects, got {error}") from error
