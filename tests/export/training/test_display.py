"""export/training/display.py: the pace so far tells the time left, on a clock of the test's."""

import dataclasses
import io

import pytest
from rich.console import Console

from export.training.display import QUANTIZED_COST, Display, TimeLeft, total_cost
from export.training.recipe import Recipe
from export.training.recipes import MNIST, MNIST_EMPIR
from export.training.train import Progress


def test_the_time_left_follows_from_the_pace() -> None:
    now = [100.0]
    left = TimeLeft(30, lambda: now[0])
    assert left.after("fp32", 0.0, cost=10) == ""
    now[0] = 120.0
    assert left.after("fp32", 0.5, cost=10) == "1:40 left"  # 5 of 30 in 20 s
    now[0] = 130.0
    assert left.after("w4a4", 0.25, cost=20) == "0:30 left"  # 10 + 5 of 30 in 30 s
    assert left.done == 15


def test_what_was_done_before_an_interruption_does_not_count_into_the_pace() -> None:
    now = [0.0]
    left = TimeLeft(20, lambda: now[0])
    left.after("fp32", 0.5, cost=20)
    now[0] = 10.0
    assert left.after("fp32", 0.75, cost=20) == "0:10 left"


def test_the_total_is_of_every_stage() -> None:
    assert total_cost(MNIST_EMPIR) == 20 + 2 * 20 * QUANTIZED_COST  # each from the start
    assert total_cost(MNIST) == pytest.approx(14 + 2 * (14 + 10 * QUANTIZED_COST))  # twins, and then fine-tuning
    plain = MNIST_EMPIR.training
    assert total_cost(dataclasses.replace(MNIST_EMPIR, members=MNIST_EMPIR.members[:1], teacher=plain)) == 40


def step(epoch: int, batch: int, accuracy: float | None = None, robust: float | None = None) -> Progress:
    return Progress("fp32", epoch, 3, batch, 10, loss=1.25, accuracy=accuracy, robust=robust)


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_loss_and_accuracies_are_shown(terminal: bool, toy_recipe: Recipe) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, color_system=None)
    with Display(toy_recipe, console, iter(range(0, 1000, 10)).__next__) as display:
        for each in (step(1, 5), step(1, 10), step(1, 10, accuracy=0.5, robust=0.25), step(2, 5)):
            display.step(each)
    shown = stream.getvalue()
    if terminal:
        last = shown.split("\r")[-1] if "\r" in shown else shown
        assert "epoch 2/3" in last and "loss 1.250" in last and "validation 50.00%, attacked 25.0%" in last
        assert " left" in last
    else:
        assert shown == "fp32, epoch 1/3: loss 1.2500, validation 50.00%, attacked 25.0%\n"
