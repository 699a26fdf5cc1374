"""A training's plan, kept beside its checkpoints: the options it was begun with, and the epochs that were chosen."""

import json
from collections.abc import Callable
from pathlib import Path

from export.training.checkpoint import TrainingError
from runtime.aside import write_aside

PLAN = "plan.json"


def planned_epochs(folder: Path, options: dict[str, str], choose: Callable[[], int]) -> int:
    """The epochs that the training in `folder` was begun with, or, where none was begun, what `choose` says.

    Raises TrainingError if it was begun with other options, naming the first that differs.
    """
    path = folder / PLAN
    if path.exists():
        begun, epochs = _read(path)
        for name in sorted(begun.keys() | options.keys()):
            then, now = begun.get(name, "nothing"), options.get(name, "nothing")
            if then != now:
                raise TrainingError(
                    f"{folder}: a training was begun there with {name} {then}, now {now}; give the same options to go "
                    "on with it, or delete that folder to start anew"
                )
        return epochs
    epochs = choose()
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(path, (json.dumps({"options": options, "epochs": epochs}, indent=2) + "\n").encode())
    return epochs


def _read(path: Path) -> tuple[dict[str, str], int]:
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        return dict(plan["options"]), int(plan["epochs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: damaged, or not a plan; delete {path.parent} to start anew") from error
