"""What a report says beside the worst case: how well the detector sees attacks, and what the ensemble costs."""

import numpy as np

from robustness.attacks.climb import Schedule
from robustness.attacks.gradient import usual_step
from robustness.detection.attackers import DetectorUnderAttack
from robustness.detection.detection_report import DetectionReport
from robustness.detection.trajectory import last_of, random_start, trajectory
from robustness.evaluation.findings import Findings
from robustness.evaluation.ledger import TOLERANCE
from robustness.evaluation.suites import Target, smaller_eps
from robustness.losses.goals import ANY_OTHER, as_asked
from robustness.losses.loss_names import make_loss
from robustness.norms import NormName
from robustness.reporting.overhead import TURNED, UNDER_ATTACK, OverheadReport, overhead
from robustness.victim import Array, Victim

IMAGES = 100
DETECTED = 300
"""Images for the detector: of those that fall a share leaves its area under the curve to within a few hundredths."""
STEPS = 40
LAST_LOSS = "mean_log_probability"
LAST_ITERATES = f"the last iterates of PGD-{STEPS} on the {LAST_LOSS.replace('_', ' ')}, all of them, turned or not"


def detection(findings: Findings, victim: Victim) -> DetectionReport | None:
    """Three attackers, PGD in the report's ball; None without a threshold or a gradient graph.

    Images that are known to fall come first: of a robust bundle's others too few would be left to judge a detector by.
    Where the paper's ball is larger than the literature's, in the latter.
    """
    plan = findings.plan
    if plan.manifest.detection is None or not all(victim.differentiable):
        return None
    eps = min(smaller_eps(Target(plan.manifest, plan.norm, plan.eps))) if plan.suite == "empir-2020" else plan.eps
    attacked = DetectorUnderAttack.of(victim, plan.manifest, _pgd(plan.norm, eps))
    fallen = ~findings.wrong_clean[0] & (findings.size <= eps + TOLERANCE)
    rows = np.argsort(~fallen, kind="stable")[:DETECTED]
    images, labels, clean = plan.drawn.images[rows], plan.drawn.labels[rows], plan.drawn.images[:DETECTED]
    return attacked.report(images, labels, plan.seed, clean=clean, known_first=int(fallen[rows].sum()))


def cost(findings: Findings, victim: Victim) -> OverheadReport | None:
    """On the first images, clean and under attack; None without a full-precision member.

    Under attack: the last iterates, whether they turned the verdict or not. Without gradients, of images that fell.
    """
    manifest, images = findings.plan.manifest, findings.plan.drawn.images
    if not any(member.precision.is_float for member in manifest.members):
        return None
    sets, attack = {"clean": images[:IMAGES]}, None
    if all(victim.differentiable):
        sets[UNDER_ATTACK], attack = _last_iterates(findings, victim), LAST_ITERATES
    elif len(findings.kept):
        sets[TURNED] = findings.smallest[findings.kept[:IMAGES]]
    return overhead(manifest, victim.ensemble, sets).model_copy(update={"attack": attack})


def _last_iterates(findings: Findings, victim: Victim) -> Array:
    plan, loss = findings.plan, make_loss(LAST_LOSS, victim).loss
    images, labels = plan.drawn.images[:IMAGES], plan.drawn.labels[:IMAGES]
    goals, schedule = as_asked(labels, np.full(len(labels), ANY_OTHER)), _pgd(plan.norm, plan.eps)
    start = random_start(images, schedule, np.random.default_rng(plan.seed))
    return last_of(trajectory(victim, images, start, goals, loss, schedule))[0]


def _pgd(norm: NormName, eps: float) -> Schedule:
    return Schedule(norm, eps, STEPS, usual_step(eps, STEPS), random_start=True)
