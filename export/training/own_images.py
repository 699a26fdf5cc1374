"""The recipe for a folder of one's own images: a network for their size and number, and how long to train it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from export.data.own_folder import PREFIX, OwnImages, images_of
from export.training.objectives import CrossEntropy, NoiseFgsm, Objective
from export.training.recipe import MemberRecipe, Recipe, Training
from models.networks import photo_net
from models.precision import Precision
from runtime.errors import InvalidValue
from runtime.manifest import Input, Manifest, Vote

NETWORKS = {"small": (16, 32, 64), "medium": (24, 48, 96), "large": (32, 64, 128)}
"""Channels of the stages; by the number of training images, which is at least `LEAST_IMAGES`."""
LEAST_IMAGES = {"small": 0, "medium": 5_000, "large": 20_000}
IMAGES_SEEN = 72_000
"""By each network, about, within the limits of epochs."""
FEWEST_EPOCHS, MOST_EPOCHS = 10, 60
LARGEST_BATCH, SMALLEST_BATCH, STEPS_AN_EPOCH = 64, 8, 20


@dataclass(frozen=True)
class Choices:
    """What can be chosen: precisions of the members, seed, epochs of the full-precision networks, and the Linf radius
    to train against (None: not robust)."""

    members: tuple[str, ...] = ("fp32", "w8a8", "w4a4")
    seed: int = 0
    epochs: int | None = None
    eps: float | None = None


def own_recipe(images: OwnImages, spec: Input, choices: Choices, *, skip_unreadable: bool = False) -> Recipe:
    """The recipe for `images`; `recipe.data` loads them, from whatever folder it is given."""
    count = len(images.files.train)
    network = max((name for name, least in LEAST_IMAGES.items() if count >= least), key=lambda n: LEAST_IMAGES[n])
    epochs = choices.epochs or default_epochs(count)
    return Recipe(
        name=f"{PREFIX}{network}",
        description=_description(images, choices),
        data=lambda data_dir: images.load(spec, skip_unreadable=skip_unreadable),
        network=network_of(network, spec, len(images.labels)),
        input=spec,
        vote=Vote(rule="majority", tie_breaker=_tie_breaker(choices.members)),
        members=members_of(choices.members, choices.seed),
        training=_training(epochs, count, choices.eps),
        fine_tuning=_fine_tuning(fine_tuning_epochs(epochs), count, choices.eps),
        cost="depends on the images",
        expected="depends on the images",
    )


def recipe_of(manifest: Manifest) -> Recipe | None:
    """The recipe of a bundle that was trained on a folder of images, as far as its network and its data go; its
    `data` wants their folder. None for any other bundle.
    """
    made_by = manifest.provenance.recipe
    if made_by.removeprefix(PREFIX) not in NETWORKS or not made_by.startswith(PREFIX):
        return None
    members = tuple(MemberRecipe(m.name, str(m.precision), manifest.provenance.seed) for m in manifest.members)
    return Recipe(
        name=made_by,
        description=manifest.description,
        data=partial(images_of, manifest),
        network=network_of(made_by.removeprefix(PREFIX), manifest.input, len(manifest.labels)),
        input=manifest.input,
        vote=manifest.vote,
        members=members,
        training=_training(FEWEST_EPOCHS, LARGEST_BATCH, None),
        cost="",
        expected="",
    )


def network_of(name: str, spec: Input, classes: int) -> Callable[[Precision], nn.Sequential]:
    """From a precision to the network `name` for images of `spec`."""
    shape = (spec.channels, spec.height, spec.width)

    def network(precision: Precision) -> nn.Sequential:
        return photo_net(precision, image_shape=shape, classes=classes, widths=NETWORKS[name])

    network.__name__ = f"photo_net_{name}_{'x'.join(map(str, shape))}_{classes}"  # checkpoints know it by this
    return network


def members_of(precisions: Sequence[str], seed: int) -> tuple[MemberRecipe, ...]:
    """Members named by their precision, each with a seed of its own.

    >>> [member.name for member in members_of(["fp32", "w4a4", "w4a4"], seed=0)]
    ['fp32', 'w4a4', 'w4a4-b']
    """
    seen: Counter[str] = Counter()
    members = []
    for index, precision in enumerate(precisions):
        name = precision if not seen[precision] else f"{precision}-{chr(ord('a') + seen[precision])}"
        seen[precision] += 1
        members.append(MemberRecipe(name, precision, seed + index))
    return tuple(members)


def parse_members(text: str) -> tuple[str, ...]:
    """The short forms of precisions in `text`, with commas between. Raises InvalidValue."""
    parts = tuple(part.strip() for part in text.split(","))
    try:
        return tuple(str(Precision.parse(part)) for part in parts)
    except ValueError as error:
        raise InvalidValue(f"--members: {error}") from error


def default_epochs(images: int) -> int:
    """So many that each network sees about 72,000 images, but 10 to 60.

    >>> [default_epochs(images) for images in (100, 3_600, 50_000)]
    [60, 20, 10]
    """
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, IMAGES_SEEN // max(1, images)))


def batch_size(images: int) -> int:
    """A power of two, 8 to 64, that makes about 20 steps an epoch or more.

    >>> [batch_size(images) for images in (80, 700, 3_600)]
    [8, 32, 64]
    """
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and images < size * STEPS_AN_EPOCH:
        size //= 2
    return size


def fine_tuning_epochs(epochs: int) -> int:
    """Of a quantized copy, after so many of its full-precision twin."""
    return max(1, round(epochs / 6))


def _training(epochs: int, images: int, eps: float | None) -> Training:
    batch = batch_size(images)
    return Training(
        epochs=epochs,
        batch_size=batch,
        learning_rate=0.1 * batch / LARGEST_BATCH,
        objective=_objective(eps),
        optimizer="sgd",
        schedule="one_cycle",
        weight_decay=5e-4,
        augmentation="crop_and_flip",
        robust_eps=eps,
        robust_steps=10,
        robust_images=200,
    )


def _fine_tuning(epochs: int, images: int, eps: float | None) -> Training:
    return replace(_training(epochs, images, eps), learning_rate=3e-4, optimizer="adamw", schedule="cosine")


def _objective(eps: float | None) -> Objective:
    return CrossEntropy() if eps is None else NoiseFgsm(eps=eps)


def _tie_breaker(members: Sequence[str]) -> str:
    """The member with the most bits, the first of them: the full-precision one if there is one."""
    return max(members, key=lambda text: Precision.parse(text).weights * 64 + Precision.parse(text).activations)


def _description(images: OwnImages, choices: Choices) -> str:
    kinds = ", ".join(images.labels[:3]) + (" and others" if len(images.labels) > 3 else "")
    trained = "not against attacks" if choices.eps is None else (
        f"against attacks of up to {255 * choices.eps:.3g}/255 (Linf)"
    )  # fmt: skip
    return f"Trained on a folder of images: {len(images.labels)} classes ({kinds}), {trained}."
