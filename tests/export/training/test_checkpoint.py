"""export/training/checkpoint.py: whole or not at all, and only for the training that wrote it."""

import re
from pathlib import Path
from typing import IO

import pytest
import torch

from export.training.checkpoint import TrainingError, load_checkpoint, save_checkpoint


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "member.pt"
    state = {"network": {"weight": torch.arange(6.0).view(2, 3)}, "epoch": 3, "best": 0.5}
    save_checkpoint(path, "this training", state)
    found = load_checkpoint(path, "this training", ["network", "epoch"])
    assert found is not None and (found["epoch"], found["best"]) == (3, 0.5)
    assert torch.equal(found["network"]["weight"], state["network"]["weight"])  # type: ignore[index]
    assert [each.name for each in path.parent.iterdir()] == ["member.pt"]


def test_without_a_file_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "member.pt", "any", []) is None


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "member.pt"
    save_checkpoint(path, "this training", {"epoch": 1})

    def half(state: object, target: IO[bytes]) -> None:
        target.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(path, "this training", {"epoch": 2})
    found = load_checkpoint(path, "this training", ["epoch"])
    assert found is not None and found["epoch"] == 1


def test_another_trainings_checkpoint_is_refused_with_both(tmp_path: Path) -> None:
    path = tmp_path / "member.pt"
    save_checkpoint(path, "that training", {})
    message = f"{path}: expected a checkpoint of this training, got that training; delete it to start anew"
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}$"):
        load_checkpoint(path, "this training", [])


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 not a zip"], ids=["empty", "text", "broken zip"])
def test_a_damaged_one_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "member.pt"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=f"^{re.escape(str(path))}: damaged, or not a checkpoint"):
        load_checkpoint(path, "any", [])


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        ({}, "identity, network, epoch"),
        ([1, 2], "identity, network, epoch"),
        (torch.ones(3), "identity, network, epoch"),
        ({"identity": "this training", "network": {}}, "epoch"),
    ],
    ids=["nothing", "a list", "a tensor", "less than a state"],
)
def test_what_torch_saved_of_another_kind_is_refused_by_name(content: object, missing: str, tmp_path: Path) -> None:
    path = tmp_path / "member.pt"
    torch.save(content, path)
    message = f"{path}: not a checkpoint, it has no {missing}; delete it to start anew"
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}$"):
        load_checkpoint(path, "this training", ["network", "epoch"])
