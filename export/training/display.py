"""Training as it is seen in a terminal: a row for each network, and one for the whole with the time left."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from export.training.recipe import Recipe
from export.training.train import Progress as Step
from models.precision import Precision

QUANTIZED_COST = 1.6
"""What an epoch of a quantized network takes, measured in those of its full-precision twin."""


class Display:
    """Shows steps of training as they are reported; a line an epoch where there is no terminal."""

    def __init__(self, recipe: Recipe, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        columns = TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[now]}")
        self._console = console
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self._low = {m.name for m in recipe.members if not Precision.parse(m.precision).is_float}
        self._left = TimeLeft(total_cost(recipe), clock)
        self._whole = self._bars.add_task("all", total=self._left.total, now="")
        self._rows: dict[str, TaskID] = {}
        self._seen: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def step(self, step: Step) -> None:
        """A batch has been learned, or, where it has an accuracy, an epoch is over."""
        name, done, total = step.member, (step.epoch - 1) * step.batches + step.batch, step.epochs * step.batches
        if step.accuracy is not None:
            self._seen[name] = f"  {validation(step)}"
            if not self._console.is_terminal:
                words = f"{name}, epoch {step.epoch}/{step.epochs}: loss {step.loss:.4f}, {validation(step)}"
                self._console.print(words, soft_wrap=True, highlight=False)
        if name not in self._rows:
            self._rows[name] = self._bars.add_task(name, total=total, now="")
        now = f"epoch {step.epoch}/{step.epochs}  loss {step.loss:.3f}{self._seen.get(name, '')}"
        self._bars.update(self._rows[name], completed=done, total=total, now=now)
        cost = QUANTIZED_COST if name in self._low else 1.0
        left = self._left.after(name, done / total, cost * step.epochs)
        self._bars.update(self._whole, completed=self._left.done, now=left)


class TimeLeft:
    """How much of a training is done, in epochs of a full-precision network, and how long the rest takes at the pace
    so far; what was done before an interruption does not count into the pace."""

    def __init__(self, total: float, clock: Callable[[], float]) -> None:
        self.total, self._clock = total, clock
        self._start: tuple[float, float] | None = None
        self._stages: dict[str, tuple[float, float]] = {}

    @property
    def done(self) -> float:
        return sum(share * cost for share, cost in self._stages.values())

    def after(self, stage: str, share: float, cost: float) -> str:
        """`2:30 left`, now that `share` of a stage, which costs `cost` in all, is done; nothing while it is unknown."""
        for name, (_, price) in self._stages.items():
            self._stages[name] = (1.0, price)  # a new stage begins when the one before it is over
        self._stages[stage] = (share, cost)
        now = self._clock()
        if self._start is None:
            self._start = (now, self.done)
        seconds, done = now - self._start[0], self.done - self._start[1]
        if seconds <= 0 or done <= 0:
            return ""
        minutes, rest = divmod(round((self.total - self.done) * seconds / done), 60)
        return f"{max(0, minutes)}:{rest:02} left"


def total_cost(recipe: Recipe) -> float:
    """What all stages of all members cost, in epochs of a full-precision network."""
    cost = 0.0
    for member in recipe.members:
        low = not Precision.parse(member.precision).is_float
        cost += recipe.teacher.epochs if recipe.teacher is not None else 0
        if low and recipe.fine_tuning is not None:
            cost += recipe.training.epochs + QUANTIZED_COST * recipe.fine_tuning.epochs
        else:
            cost += recipe.training.epochs * (QUANTIZED_COST if low else 1)
    return cost


def validation(step: Step) -> str:
    """The accuracies on validation images that came with a step.

    >>> validation(Step("fp32", 1, 2, 5, 5, loss=0.5, accuracy=0.75, robust=0.5))
    'validation 75.00%, attacked 50.0%'
    """
    attacked = "" if step.robust is None else f", attacked {step.robust:.1%}"
    return f"validation {step.accuracy:.2%}{attacked}"
