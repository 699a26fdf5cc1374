"""Suites: the attacks of an evaluation, in order, with the measurements that every report has."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from robustness.attacks.registry import Settings
from robustness.evaluation.steps import CLEAN, NEAREST, PAPER, REFERENCE, REFERENCE_COST, Step, needs_gradients
from robustness.norms import NORMS, NormName, eps_text
from robustness.parameters import default_eps, have
from robustness.reporting.report import SUITE, VOTE
from runtime.errors import InvalidValue
from runtime.manifest import Manifest

VERSION = 7
"""Of all suites: it rises when the attacks of one are others, or other parameters. A report without one has 1."""

NEAREST_STEPS = 10
CURVE_IMAGES = 200
CHECK_IMAGES = 100
JUST_BEYOND, TINY = 1.1, 1e-8
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of red, green and blue in ImageNet's photos, pixels in [0, 1]."""
FEWER, MORE = 20, 200
"""Steps of the attack whose strength is compared with that of itself, and how many more must change little."""

ASKS = "asks for the members' outputs only"
VERDICT_ONLY = (
    "asks for the verdict only; starts from noise, or else an image of the draw, that has another verdict: without "
    "either an image is not attacked"
)
ONE_STEP, ITERATIVE, MORE_STEPS, QUERIES = "check: one step", "check: iterative", "check: more steps", "check: queries"


@dataclass(frozen=True)
class Target:
    """What a suite is made for: a bundle's manifest, and the ball."""

    manifest: Manifest
    norm: NormName
    eps: float

    @property
    def members(self) -> list[str]:
        return [member.name for member in self.manifest.members]

    @property
    def full_precision(self) -> str | None:
        """The full-precision member that the paper's attacks take gradients of."""
        floats = [member.name for member in self.manifest.members if member.precision.is_float]
        tie_breaker = self.manifest.vote.tie_breaker
        return tie_breaker if tie_breaker in floats else next(iter(floats), None)

    def settings(self, steps: int | None = None, restarts: int = 1, step_size: float | None = None) -> Settings:
        return Settings(self.norm, self.eps, steps, step_size, restarts)

    def halved(self, steps: int) -> Settings:
        """Of an attack towards each other class that goes on towards the most promising ones alone."""
        return replace(self.settings(steps), halve=True)


Suite = Callable[[Target], Iterator[Step]]


def adaptive(target: Target) -> Iterator[Step]:
    """Ours, the cheapest and strongest first: on the vote with every loss over all members, each also for the cheapest
    majority towards each class; on each member alone; then by queries.

    An image that stands costs about 2,500 gradients of all members, in L2 4,200, and 4,000 queries: what several losses
    find alike is looked for with full strength by one of them, and towards each class by trajectories of which most
    stop early. What still stands is attacked towards every class to the end, by the loss that finds most. Of targeted
    losses over all members only the margin's is climbed: the joint ones aim better.
    """
    yield Step("apgd-mean_margin", target.settings(20), note="sum of the members' margins")
    sure = "does not vanish where members are sure"
    yield Step("apgd-mean_log_probability", target.settings(50, restarts=2), note=sure)
    yield Step("apgd-joint_margin", target.halved(40), note="the cheapest majority, towards each other class")
    yield Step("apgd-joint_log_probability", target.halved(40), note="the cheapest majority, by log probabilities")
    for loss, note in (
        ("joint_nearness", "the cheapest majority, near members count more (MORA)"),
        ("joint_probability", "the cheapest majority, by probabilities"),
        ("joint_dlr", "the cheapest majority, by the difference of logits ratio"),
    ):
        yield Step(f"apgd-{loss}", target.halved(20), note=note)
    for member in target.members:
        yield from alone(member, target)
    for loss, note in (
        ("mean_probability", "Tramer et al., arXiv 2002.08347"),
        ("mean_nearness", "reweighted: near members count more (MORA)"),
        ("mean_dlr", "the difference of logits ratio"),
    ):
        yield Step(f"apgd-{loss}", target.settings(40), note=note)
    for member in target.members:
        yield Step(f"apgd-alone:{member}", target.settings(40), note="one member's margin; the vote judges every step")
    yield Step("apgd-targeted_margin", target.halved(20), note="sum of margins, towards each other class")
    yield Step("pgd-joint_margin", target.halved(20), note="fixed steps of 2.5 eps / steps")
    yield Step("pgd-mean_probability", target.settings(40), note="as the literature attacked EMPIR, in fewer steps")
    if target.norm == "l2":
        yield Step("cw-l2", target.settings(200), note="the smallest change, on a smooth margin of the vote")
        yield Step("deepfool", target.settings(50), note="to the nearest border of the vote, by straight lines")
    whole = "the cheapest majority, towards each other class, every trajectory to its end"
    yield Step("apgd-joint_margin", target.settings(100), note=whole, label="apgd-joint_margin of 100 steps")
    yield Step("square", target.settings(2500), note=ASKS)
    yield Step("hopskipjump", target.settings(500), note=VERDICT_ONLY)
    for member in target.members:
        yield Step("square", target.settings(1000), member, note=ASKS)


def alone(member: str, target: Target) -> Iterator[Step]:
    """One member as a classifier of its own; what is found there is judged by the vote too: a transfer attack."""
    note = "this member alone; what is found is shown to the vote and to the other members"
    yield Step("apgd-mean_margin", target.settings(50, restarts=2), member, note=note)
    yield Step("apgd-targeted_dlr", target.halved(40), member, note=note)
    yield Step("apgd-targeted_margin", target.halved(40), member, note=note)


def autoattack(target: Target) -> Iterator[Step]:
    """Ours, then the reference AutoAttack on the vote and on each member alone: the worst case of both."""
    yield from adaptive(target)
    for on in (VOTE, *target.members):
        for name in REFERENCE_COST:
            yield Step(f"{REFERENCE}{name}", target.settings(), on, note="pyautoattack; judged by the served vote")


def empir_2020(target: Target) -> Iterator[Step]:
    """The paper's own attacks, bugs included, on the ensemble and on its full-precision member; then adaptive ones.

    Raises InvalidValue if the bundle has no full-precision member.
    """
    member = target.full_precision
    if member is None:
        raise InvalidValue("suite: empir-2020 takes gradients of a full-precision member, and this bundle has none")
    transfer = f"a transfer attack: the gradient is that of {member} alone, by a bug of the paper's code"
    vanishing = "mean probability of the members that agree with the vote, softmax applied twice: gradients vanish"
    plain = Step("", target.settings(), purpose="paper", cascade=False, labels="clean verdict")
    scale = unit(target.manifest)
    size = 0.01 * scale
    ways = (("cw", member, 50, None), ("fgsm", None, 1, None), ("bim", member, 40, size), ("pgd", None, 40, size))
    for kind, source, steps, step_size in ways:
        note, settings = transfer if source else vanishing, target.settings(steps, step_size=step_size)
        yield replace(plain, attack=f"{PAPER}{kind}", settings=settings, member=source, note=note)
    for kind, _, steps, step_size in ways:
        settings = target.settings(steps, step_size=step_size)
        note = "the paper's baseline: this member alone, its own gradient"
        yield replace(plain, attack=f"{PAPER}{kind}", settings=settings, on=member, member=member, note=note)
    note = "not the paper's: what an attacker does who knows the vote"
    for eps in smaller_eps(target):
        for attack, steps in (("pgd-mean_probability", 100), ("apgd-joint_margin", 40)):
            settings = Settings(target.norm, eps, steps)
            label = None if eps == target.eps else f"{attack} at eps {eps_text(eps)}"
            yield Step(attack, settings, cascade=False, note=note, label=label)


def smaller_eps(target: Target) -> tuple[float, ...]:
    """The target's eps, and the one that the literature has used since where the paper's is larger."""
    usual = default_eps(target.norm, target.manifest.input.channels)
    return (target.eps, usual) if usual < target.eps else (target.eps,)


SUITES: dict[str, Suite] = {"adaptive": adaptive, "empir-2020": empir_2020, "autoattack": autoattack}


def make_suite(name: str, target: Target) -> list[Step]:
    """The steps of a suite: the clean images, its attacks, the curve, what the checks need, the search for nearer ones.

    Without a gradient graph a member can be attacked by queries only: the steps that need one are left out.
    Raises InvalidValue, with the suites that there are, if there is none of this name, and where no attack on the vote
    is left that is the suite's own.
    """
    if name not in SUITES:
        raise InvalidValue(f"suite: expected one of {', '.join(SUITES)}, got {name!r}")
    first = Step(CLEAN, target.settings(), cascade=False)
    steps = [first, *SUITES[name](target), *curve(target, eps_grid(target, name)), *checks(target), nearest(target)]
    graphs = {member.name: member.gradient_file is not None for member in target.manifest.members}
    graphs[VOTE] = all(graphs.values())
    left = [step for step in steps if graphs[step.on] or not needs_gradients(step)]
    if not any(step.on == VOTE and step.purpose in SUITE and step.attack != CLEAN for step in left):
        blind = have([member for member in target.members if not graphs[member]])
        raise InvalidValue(
            f"suite: {name} needs gradient graphs, and {blind} none; expected adaptive, which asks queries too"
        )
    return left


def curve(target: Target, grid: Sequence[float]) -> Iterator[Step]:
    """Each eps attacked anew, on the first images: accuracy of the vote and of every member against eps.

    Well beyond the target's eps a random start is noise, in which a low-precision member's gradient may be 0: three
    starts, all to the end; most fall soon.
    """
    for eps in grid:
        within = eps <= JUST_BEYOND * target.eps + TINY
        settings = Settings(target.norm, eps, 20, restarts=1 if within else 3)
        joint = replace(settings, halve=within)
        yield Step("apgd-joint_margin", joint, VOTE, "curve", False, CURVE_IMAGES, label=curve_label(eps))
        for member in target.members:
            yield Step("apgd-mean_margin", settings, member, "curve", False, CURVE_IMAGES, label=curve_label(eps))


def curve_label(eps: float) -> str:
    return f"curve: eps {eps_text(eps)}"


def eps_grid(target: Target, suite: str) -> list[float]:
    """From a quarter of eps to well beyond it, and at last the whole space of images; 0 is the clean accuracy.

    The suites that measure what a bundle was trained for look just beyond its eps too: accuracy may fall off there.

    >>> from tests.linear_victim import LINEAR_MANIFEST
    >>> [round(eps, 3) for eps in eps_grid(Target(LINEAR_MANIFEST, "linf", 0.3), "adaptive")]
    [0.075, 0.15, 0.225, 0.3, 0.33, 0.45, 0.6, 1.0]
    """
    spec = target.manifest.input
    largest = NORMS[target.norm].largest((spec.channels, spec.height, spec.width))
    beyond = () if suite == "empir-2020" else (JUST_BEYOND,)
    grid = [round(target.eps * times, 9) for times in (0.25, 0.5, 0.75, 1, *beyond, 1.5, 2, 4)]
    return [*(eps for eps in grid if eps < largest), largest]


def checks(target: Target) -> Iterator[Step]:
    """What the checks compare, on the first images: one step, several, many more, and queries only."""
    for label, attack, settings in (
        (ONE_STEP, "fgsm-mean_margin", target.settings(1)),
        (ITERATIVE, "apgd-joint_margin", target.halved(FEWER)),
        (MORE_STEPS, "apgd-joint_margin", target.settings(MORE)),
        (QUERIES, "square", target.settings(1000)),
    ):
        yield Step(attack, settings, VOTE, "check", False, CHECK_IMAGES, label=label)


def nearest(target: Target) -> Step:
    """How near adversarial images lie of all that fell: 60 gradients an image at most, about a tenth of a suite."""
    note = "bisection over eps, each an attack of its own, from the smallest adversarial image known"
    return Step(NEAREST, target.settings(NEAREST_STEPS), VOTE, "nearest", False, note=note)


def unit(manifest: Manifest) -> float:
    """The paper's unit in pixels of [0, 1]: with ImageNet, here photos of more than 32 pixels, it counts after dividing
    by the standard deviation; that is the bundle's own, where its graphs divide by one."""
    spec = manifest.input
    black, white = spec.value_range
    if spec.std is not None:
        return sum(spec.std) / len(spec.std) / (white - black)
    large = spec.channels == 3 and min(spec.height, spec.width) > 32
    return sum(IMAGENET_STD) / len(IMAGENET_STD) if large else 1.0


def suite_eps(suite: str, norm: NormName, manifest: Manifest) -> float:
    """The usual eps: of the literature, or for empir-2020 the paper's, 0.3 for digits and 0.1 for photos."""
    if suite == "empir-2020" and norm == "linf":
        return 0.3 if manifest.input.channels == 1 else 0.1 * unit(manifest)
    return default_eps(norm, manifest.input.channels)
