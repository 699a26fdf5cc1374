"""Evaluations of linear toys: a few steps, a few images, this process only."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from robustness.attacks.registry import Settings
from robustness.evaluation.crew import Alone
from robustness.evaluation.evaluate import Plan, evaluate
from robustness.evaluation.image_sets import Drawn
from robustness.evaluation.journal import Journal
from robustness.evaluation.ledger import Ledger
from robustness.evaluation.steps import CLEAN, Step
from robustness.evaluation.worker import Outcome, Task, run_step
from robustness.victim import Victim
from runtime.manifest import Manifest
from tests.linear_victim import LINEAR_MANIFEST

EPS = 0.1
SETTINGS = Settings("linf", EPS, steps=5)
STEPS = [
    Step(CLEAN, SETTINGS, cascade=False),
    Step("fgsm-mean_margin", SETTINGS),
    Step("apgd-joint_margin", SETTINGS),
    Step("apgd-mean_margin", SETTINGS, on="low-a"),
]


def grey(count: int, wrong: Sequence[int] = ()) -> Drawn:
    """Grey images with slight noise, all cats; those in `wrong` are labelled dog."""
    generator = np.random.default_rng(7)
    images = (0.5 + generator.uniform(-0.001, 0.001, (count, 1, 8, 8))).astype(np.float32)
    labels = np.zeros(count, dtype=np.int64)
    labels[list(wrong)] = 1
    return Drawn("grey", {}, count, np.arange(count), images, labels)


def with_graphs(manifest: Manifest = LINEAR_MANIFEST) -> Manifest:
    """The manifest, naming a gradient graph for every member."""
    fields = {"gradient_file": "x.onnx", "gradient_sha256": "0" * 64}
    return manifest.model_copy(update={"members": tuple(m.model_copy(update=fields) for m in manifest.members)})


def without_graphs(manifest: Manifest = LINEAR_MANIFEST) -> Manifest:
    """The manifest of a bundle whose members can be attacked by queries only."""
    fields = {"gradient_file": None, "gradient_sha256": None}
    return manifest.model_copy(update={"members": tuple(m.model_copy(update=fields) for m in manifest.members)})


def plan(drawn: Drawn, steps: Sequence[Step] = STEPS, chunk: int = 2) -> Plan:
    return Plan(with_graphs(), "adaptive", "linf", EPS, 0, list(steps), drawn, chunk)


def run(victim: Victim, folder: Path, what: Plan, work: Callable[[Victim, Task], Outcome] = run_step) -> list[Ledger]:
    return evaluate(what, Journal(folder, what.fingerprint()), Alone(lambda task: work(victim, task)))
