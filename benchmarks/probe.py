"""How long one adaptive PGD-40 takes on one digit, in-process, when the vote falls and when it does not."""

import numpy as np

from benchmarks.context import Context
from benchmarks.figure import Figure, spread
from robustness.parameters import AttackParameters
from robustness.probe import probe
from robustness.victim import Victim
from runtime.images import decode_image

ROUNDS = 3
LARGEST_MS = 300
HOPELESS_EPS = 0.005
"""So small that no sample falls: every trajectory makes every step."""


def probes(context: Context) -> list[Figure]:
    """The ten samples, one start, seed 0; eps 0.3 and one at which nothing is found."""
    victim = Victim.of_bundle(context.bundle)
    manifest = context.bundle.manifest
    images = [decode_image(sample, manifest.input) for sample in context.samples]
    figures = []
    for eps in (0.3, HOPELESS_EPS):
        parameters = AttackParameters(eps=eps)
        probe(victim, manifest, images[0], parameters)
        reports = [probe(victim, manifest, image, parameters) for _ in range(ROUNDS) for image in images]
        times = [report.time_ms for report in reports]
        fallen = sum(report.outcome == "broken" for report in reports)
        what = f"PGD-40, eps {eps:g}, {fallen} of {len(reports)} broken"
        good = float(np.median(times)) <= LARGEST_MS
        figures.append(Figure(what, "at most 300 ms", f"{spread(times, 0)} ms", good))
    return figures
