"""The journal of an evaluation: every finished step on disk, so that a kill or a power cut loses at most the one under
way."""

import json
import shutil
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from robustness.evaluation.worker import Cost, Judged, Outcome
from runtime.aside import write_aside, write_aside_by
from runtime.errors import EmpirError

PLAN = "plan.json"
CLOCK = "seconds.json"


class OtherRun(EmpirError):
    """A work folder that belongs to an evaluation with other parameters."""

    code = "other_run"


class Journal:
    """A work folder. Files are written aside and renamed, so each is there whole or not at all."""

    def __init__(self, folder: Path, plan: dict[str, Any], *, replace: bool = False) -> None:
        """Open or make the folder of an evaluation with this `plan`, which defines all that it does.

        Raises OtherRun, naming what differs, if the folder is of another; with `replace` it is emptied instead.
        """
        self.folder, path = folder, folder / PLAN
        plan = json.loads(json.dumps(plan))
        if (there := _read(path)) != plan:
            if there is not None and not replace:
                raise OtherRun(_of_another(path, there, plan))
            folder.mkdir(parents=True, exist_ok=True)
            self._forget()
            write_aside(path, json.dumps(plan, indent=1).encode())
        self._before = self._clock()

    def load(self, chunk: int, step: int) -> Outcome | None:
        """What a step found on a chunk; None if it has not run, or its file was torn."""
        path = self._path(chunk, step)
        if (cost := _read(path.with_suffix(".json"))) is None:
            return None
        try:
            with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as saved:
                judged = Judged(saved["verdict"], saved["votes"], saved["degraded"])
                cost["warnings"] = tuple(cost["warnings"])
                return Outcome(saved["source"], saved["images"], judged, Cost(**cost))
        except (BadZipFile, EOFError, KeyError, OSError, ValueError):
            return None

    def save(self, chunk: int, step: int, outcome: Outcome) -> None:
        path = self._path(chunk, step)
        path.parent.mkdir(exist_ok=True)
        write_aside(path.with_suffix(".json"), json.dumps(asdict(outcome.cost)).encode())
        judged = outcome.judged
        verdicts = {"verdict": judged.verdict, "votes": judged.votes, "degraded": judged.degraded}
        arrays: dict[str, NDArray[Any]] = {"source": outcome.source, "images": outcome.images, **verdicts}
        write_aside_by(
            path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays)
        )  # last: the step has run

    def tick(self, seconds: float) -> float:
        """Note that this sitting has lasted so long; the seconds of all sittings."""
        write_aside(self.folder / CLOCK, json.dumps(self._before + seconds).encode())
        return self._before + seconds

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _forget(self) -> None:
        """What another evaluation has found; anything else that lies in the folder is not ours."""
        (self.folder / CLOCK).unlink(missing_ok=True)
        for chunk in self.folder.glob("chunk-*"):
            shutil.rmtree(chunk)

    def _path(self, chunk: int, step: int) -> Path:
        return self.folder / f"chunk-{chunk:04d}" / f"step-{step:03d}.npz"

    def _clock(self) -> float:
        return float(_read(self.folder / CLOCK) or 0.0)


def _read(path: Path) -> Any:
    """What a JSON file holds; None if it is missing or was torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _of_another(path: Path, there: Any, asked: Any) -> str:
    return (
        f"{path}: belongs to another evaluation: {_difference('', there, asked)}; "
        "expected the same parameters and bundle, another --out, --force, or this folder removed"
    )


def _difference(where: str, there: Any, asked: Any) -> str | None:
    """The first place at which they differ, and how."""
    if there == asked:
        return None
    if isinstance(there, dict) and isinstance(asked, dict):
        dot = f"{where}." if where else ""
        parts = [(f"{dot}{key}", there.get(key), asked.get(key)) for key in [*asked, *there]]
        return next(each for part in parts if (each := _difference(*part)) is not None)
    if isinstance(there, list) and isinstance(asked, list) and len(there) == len(asked):
        parts = [(f"{where}[{place}]", *pair) for place, pair in enumerate(zip(there, asked, strict=True))]
        return next(each for part in parts if (each := _difference(*part)) is not None)
    return f"{where} is {_short(there)} there, {_short(asked)} asked for"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
