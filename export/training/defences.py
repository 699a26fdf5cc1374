"""The defences that the paper compares with, as recipes, and what is known of each."""

from dataclasses import dataclass, replace

from export.training.objectives import Adversarial, CrossEntropy, Distillation, Fgsm, GradientPenalty
from export.training.recipe import Recipe, Training


@dataclass(frozen=True)
class Known:
    """Of a defence: how many times the plain network's its training takes, with its teacher's, and its accuracy."""

    times: float
    expected: str = "not measured"


def defended(
    base: Recipe, eps: float, temperature: float, minutes: float, known: dict[str, Known]
) -> tuple[Recipe, ...]:
    """The defences, each a single full-precision network like that of `base`, trained as that one but for the loss.

    `minutes`: what the plain network takes on one thread; `known`: by a defence's name.
    """
    plain, of = base.training, base.name.removesuffix("-empir")
    pgd = Adversarial(eps=eps, steps=10, step=0.25, ramp_epochs=2)

    def single(defence: str, description: str, training: Training, teacher: Training | None = None) -> Recipe:
        times, expected = known[defence].times, known[defence].expected
        return replace(
            base,
            name=f"{of}-{defence}",
            description=description,
            members=base.members[:1],
            training=training,
            teacher=teacher,
            cost=f"{times:g} times a plain network's, about {round(times * minutes, -1):.0f} minutes on one thread",
            expected=expected,
        )

    return (
        single("fgsm", f"FGSM adversarial training, eps {eps:g}.", replace(plain, objective=Fgsm(eps))),
        single(
            "pgd",
            f"PGD adversarial training (Madry et al.), eps {eps:g}, 10 steps.",
            replace(plain, objective=pgd, robust_eps=eps),
        ),
        single(
            "distillation",
            f"Defensive distillation (Papernot et al.), temperature {temperature:g}.",
            replace(plain, objective=Distillation(temperature)),
            replace(plain, objective=CrossEntropy(temperature)),
        ),
        single(
            "gradient-penalty",
            "Input-gradient regularisation (Ross and Doshi-Velez).",
            replace(plain, objective=GradientPenalty(weight=1.0)),
        ),
    )


BROKEN = "not measured; Carlini and Wagner (arXiv 1608.04644) report that it falls to attacks that climb margins"
KNOWN_ON_MNIST = {
    "fgsm": Known(3, "not measured; others report 82.9% robust (Linf 0.3, AutoAttack) for a larger network"),
    "pgd": Known(
        11,
        "measured of a shorter training, 8 epochs of 7 steps: 97.7% clean, 39% robust (Linf 0.3, targeted APGD); "
        "others 88.5% (Linf 0.3, AutoAttack) with a larger one",
    ),
    "distillation": Known(2.5, BROKEN),
    "gradient-penalty": Known(3.2),
}
KNOWN_ON_CIFAR10 = {
    "fgsm": Known(3.3),
    "pgd": Known(12, "not measured; Linf 0.1 is three times the eps that others train with"),
    "distillation": Known(2.9, BROKEN),
    "gradient-penalty": Known(4.2),
}
