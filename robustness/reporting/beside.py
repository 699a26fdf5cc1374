"""What a report says beside the worst case: how well the detector sees attacks, and what the ensemble costs."""

from robustness.attacks.climb import Schedule
from robustness.attacks.gradient import usual_step
from robustness.detection.attackers import DetectorUnderAttack
from robustness.detection.detection_report import DetectionReport
from robustness.evaluation.findings import Findings
from robustness.evaluation.suites import Target, smaller_eps
from robustness.reporting.overhead import OverheadReport, overhead
from robustness.victim import Victim

IMAGES = 100
DETECTED = 300
"""Images for the detector: of those that fall a share leaves its area under the curve to within a few hundredths."""
STEPS = 40


def detection(findings: Findings, victim: Victim) -> DetectionReport | None:
    """Three attackers, PGD in the report's ball on its first images; None without a threshold or a gradient graph.

    Where the paper's ball is larger than the literature's, in the latter.
    """
    plan = findings.plan
    if plan.manifest.detection is None or not all(victim.differentiable):
        return None
    eps = min(smaller_eps(Target(plan.manifest, plan.norm, plan.eps))) if plan.suite == "empir-2020" else plan.eps
    schedule = Schedule(plan.norm, eps, STEPS, usual_step(eps, STEPS), random_start=True)
    attacked = DetectorUnderAttack.of(victim, plan.manifest, schedule)
    return attacked.report(plan.drawn.images[:DETECTED], plan.drawn.labels[:DETECTED], plan.seed)


def cost(findings: Findings, victim: Victim) -> OverheadReport | None:
    """On the first clean images, and on the first adversarial ones; None without a full-precision member."""
    manifest, images = findings.plan.manifest, findings.plan.drawn.images
    if not any(member.precision.is_float for member in manifest.members):
        return None
    sets = {"clean": images[:IMAGES]}
    if len(findings.kept):
        sets["attacked"] = findings.smallest[findings.kept[:IMAGES]]
    return overhead(manifest, victim.ensemble, sets)
