"""export/training/plan.py: an interrupted training goes on with its epochs, and with no other options."""

from pathlib import Path
from typing import Never

import pytest

from export.training.checkpoint import TrainingError
from export.training.plan import PLAN, planned_epochs


def not_again() -> Never:
    raise AssertionError("chosen twice")


def test_epochs_are_chosen_once(tmp_path: Path) -> None:
    folder = tmp_path / "pets.training"
    assert planned_epochs(folder, {"size": "64"}, lambda: 7) == 7
    assert planned_epochs(folder, {"size": "64"}, not_again) == 7
    assert [path.name for path in folder.iterdir()] == [PLAN]


def test_other_options_are_refused_by_name(tmp_path: Path) -> None:
    planned_epochs(tmp_path, {"size": "64", "seed": "0"}, lambda: 7)
    with pytest.raises(TrainingError, match=rf"^{tmp_path}: .* with size 64, now 32; .* or delete that folder"):
        planned_epochs(tmp_path, {"size": "32", "seed": "0"}, not_again)
    with pytest.raises(TrainingError, match="with seed 0, now nothing"):
        planned_epochs(tmp_path, {"size": "64"}, not_again)


@pytest.mark.parametrize("content", ["", "[]", '{"options": {}}', '{"options": {}, "epochs": "many"}'])
def test_a_damaged_plan_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text(content)
    with pytest.raises(TrainingError, match=f"^{tmp_path / PLAN}: damaged"):
        planned_epochs(tmp_path, {}, not_again)
