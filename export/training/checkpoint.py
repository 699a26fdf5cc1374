"""Checkpoints: the state of a training, written whole after every epoch."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from runtime.aside import write_aside_by
from runtime.errors import EmpirError


class TrainingError(EmpirError):
    """Training that cannot go on."""

    code = "training_failed"


def save_checkpoint(path: Path, identity: str, state: dict[str, Any]) -> None:
    """Write `state`, what the training `identity` needs to go on; a file there is replaced whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside_by(path, lambda file: torch.save({"identity": identity, **state}, file))


def load_checkpoint(path: Path, identity: str, names: Collection[str]) -> dict[str, Any] | None:
    """The state in `path`, which has `names`; None if there is no file. Raises TrainingError if it is damaged, of
    another kind, or of another training."""
    if not path.exists():
        return None
    try:
        saved: Any = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises whatever a damaged file makes it trip over
        raise TrainingError(
            f"{path}: damaged, or not a checkpoint ({type(error).__name__}); delete it to start anew"
        ) from error
    missing = [name for name in ("identity", *names) if not isinstance(saved, dict) or name not in saved]
    if missing:
        raise TrainingError(f"{path}: not a checkpoint, it has no {', '.join(missing)}; delete it to start anew")
    if saved["identity"] != identity:
        raise TrainingError(
            f"{path}: expected a checkpoint of {identity}, got {saved['identity']}; delete it to start anew"
        )
    return dict(saved)
