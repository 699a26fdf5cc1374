"""The paper's own table (Sen et al., ICLR 2020), in per cent, to stand beside what is measured here."""

COLUMNS = ("clean", "cw", "fgsm", "bim", "pgd")
ATTACKS = COLUMNS[1:]

FIGURES: dict[str, dict[str, tuple[float, ...]]] = {
    "MNIST": {
        "fp32": (98.87, 3.69, 14.32, 0.90, 0.77),
        "EMPIR": (98.89, 86.73, 67.06, 18.61, 17.51),
    },
    "CIFAR-10": {
        "fp32": (74.54, 13.38, 10.28, 11.97, 10.69),
        "EMPIR": (72.56, 48.51, 20.45, 24.59, 13.55),
    },
    "ImageNet": {
        "fp32": (53.23, 9.94, 10.29, 10.81, 10.30),
        "EMPIR": (55.09, 29.36, 21.65, 20.67, 11.76),
    },
}
"""By data set and network, in the order of COLUMNS."""

WARNINGS = (
    "CW and BIM are transfer attacks: by bugs of the paper's code they took the gradient of the full-precision member "
    "alone, so their columns say nothing about an attacker who knows the low-precision members.",
    "FGSM and PGD took the mean probability of the members that agree with the vote and applied softmax twice, which "
    "makes gradients vanish.",
    "The labels attacked are the model's own predictions; accuracy is then counted against the true labels, over all "
    "images, at the last iterate.",
    "An attacker who knows the vote does far better: see the worst case of this report.",
)


def figures(data_set: str, network: str) -> dict[str, float] | None:
    """The paper's row, with the mean of the four attacks as `mean`; None for a data set that it has not."""
    if data_set not in FIGURES:
        return None
    row = dict(zip(COLUMNS, FIGURES[data_set][network], strict=True))
    return {**row, "mean": round(sum(row[name] for name in ATTACKS) / len(ATTACKS), 2)}
