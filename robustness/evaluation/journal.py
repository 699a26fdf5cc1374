"""The journal of an evaluation: every finished step on disk, so that a kill loses at most the one under way."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from robustness.evaluation.worker import Judged, Outcome
from runtime.errors import EmpirError

PLAN = "plan.json"
CLOCK = "seconds.json"


class OtherRun(EmpirError):
    """A work folder that belongs to an evaluation with other parameters."""

    code = "other_run"


class Journal:
    """A work folder. Files are written aside and renamed, so each is there whole or not at all."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        """Open or make the folder of an evaluation with this `plan`, which defines all that it does.

        Raises OtherRun, naming what differs, if the folder is of another.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / PLAN
        plan = json.loads(json.dumps(plan))
        if path.exists():
            _refuse_another(path, json.loads(path.read_text(encoding="utf-8")), plan)
        write_aside(path, json.dumps(plan, indent=1).encode())
        self._before = self._clock()

    def load(self, chunk: int, step: int) -> Outcome | None:
        """What a step found on a chunk; None if it has not run."""
        if not (path := self._path(chunk, step)).exists():
            return None
        with np.load(path, allow_pickle=False) as saved:
            judged = Judged(saved["verdict"], saved["votes"], saved["degraded"])
            cost = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            return Outcome(saved["source"], saved["images"], judged, **cost)

    def save(self, chunk: int, step: int, outcome: Outcome) -> None:
        path = self._path(chunk, step)
        path.parent.mkdir(exist_ok=True)
        costs = ("seconds", "queries", "gradient_calls")
        cost = {name: getattr(outcome, name) for name in costs}
        write_aside(path.with_suffix(".json"), json.dumps(cost).encode())
        judged = outcome.judged
        arrays = {"verdict": judged.verdict, "votes": judged.votes, "degraded": judged.degraded}
        with (scratch := _aside(path)).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, source=outcome.source, images=outcome.images, **arrays)
        os.replace(scratch, path)  # last: where it is, the step has run

    def tick(self, seconds: float) -> float:
        """Note that this sitting has lasted so long; the seconds of all sittings."""
        write_aside(self.folder / CLOCK, json.dumps(self._before + seconds).encode())
        return self._before + seconds

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _path(self, chunk: int, step: int) -> Path:
        return self.folder / f"chunk-{chunk:04d}" / f"step-{step:03d}.npz"

    def _clock(self) -> float:
        path = self.folder / CLOCK
        return float(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else 0.0


def write_aside(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    scratch = _aside(path)
    scratch.write_bytes(data)
    os.replace(scratch, path)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def _refuse_another(path: Path, there: Any, asked: Any) -> None:
    difference = _difference("", there, asked)
    if difference is not None:
        raise OtherRun(
            f"{path}: belongs to another evaluation: {difference}; "
            "expected the same parameters and bundle, another --out, or this folder removed"
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
