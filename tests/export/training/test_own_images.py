"""export/training/own_images.py: a recipe that fits the folder, and the same network again from a manifest."""

from pathlib import Path

import pytest
import torch

from export.data.own_folder import OwnImages
from export.training.objectives import CrossEntropy, NoiseFgsm
from export.training.own_images import NETWORKS, Choices, members_of, network_of, own_recipe, parse_members, recipe_of
from models.folding import freeze
from models.precision import Precision
from runtime.errors import InvalidValue
from runtime.manifest import Input
from tests.linear_victim import LINEAR_MANIFEST
from tests.pictures import SPEC, write_classes


@pytest.fixture
def images(tmp_path: Path) -> OwnImages:
    write_classes(tmp_path / "pets", {"cat": 12, "dog": 12, "eel": 12})
    return OwnImages.survey(tmp_path / "pets")


@pytest.mark.parametrize("precision", ["fp32", "w8a8", "w2a3"])
@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 33), (3, 64), (3, 100)])
def test_every_network_takes_images_of_any_size(channels: int, size: int, precision: str) -> None:
    spec = Input(channels=channels, height=size, width=size, resize="center_crop")
    network = freeze(network_of("small", spec, 7)(Precision.parse(precision)))
    with torch.no_grad():
        assert network(torch.rand(2, channels, size, size)).shape == (2, 7)


def test_networks_grow_with_the_number_of_images() -> None:
    spec = Input(channels=3, height=32, width=32, resize="center_crop")
    sizes = [
        sum(p.numel() for p in network_of(name, spec, 10)(Precision.parse("fp32")).parameters()) for name in NETWORKS
    ]
    assert sizes == sorted(sizes) and len(set(sizes)) == len(sizes)


def test_networks_have_names_that_checkpoints_can_tell_apart() -> None:
    spec = Input(channels=3, height=32, width=32, resize="center_crop")
    names = {network_of(name, spec, classes).__name__ for name in NETWORKS for classes in (2, 3)}
    assert len(names) == 2 * len(NETWORKS)


def test_a_plain_recipe_and_a_robust_one(images: OwnImages) -> None:
    plain = own_recipe(images, SPEC, Choices(seed=5))
    assert [(m.name, m.precision, m.seed) for m in plain.members] == [
        ("fp32", "fp32", 5),
        ("w8a8", "w8a8", 6),
        ("w4a4", "w4a4", 7),
    ]
    assert plain.training.objective == CrossEntropy() and plain.training.robust_eps is None
    assert plain.fine_tuning is not None and plain.fine_tuning.epochs == 10  # of 60, as there are few images
    assert plain.vote.tie_breaker == "fp32" and plain.name == "own-images-small"

    robust = own_recipe(images, SPEC, Choices(epochs=3, eps=0.02))
    assert robust.training.objective == NoiseFgsm(eps=0.02) and robust.training.epochs == 3
    assert robust.training.robust_eps == 0.02
    assert robust.fine_tuning is not None and robust.fine_tuning.objective == NoiseFgsm(eps=0.02)


def test_without_a_full_precision_member_the_one_with_most_bits_breaks_ties(images: OwnImages) -> None:
    assert own_recipe(images, SPEC, Choices(members=("w2a4", "w8a4", "w8a8"))).vote.tie_breaker == "w8a8"


def test_members_of_one_precision_differ_in_name_and_seed() -> None:
    members = members_of(("w2a4", "fp32", "w2a4", "w2a4"), seed=3)
    assert [member.name for member in members] == ["w2a4", "fp32", "w2a4-b", "w2a4-c"]
    assert [member.seed for member in members] == [3, 4, 5, 6]


def test_precisions_are_parsed() -> None:
    assert parse_members("fp32, w1a8") == ("fp32", "w1a8")
    with pytest.raises(InvalidValue, match=r"^--members: precision: expected fp32, or w1a1 to w8a8, got 'int8'$"):
        parse_members("fp32,int8")


def test_the_network_is_found_again_from_a_manifest(images: OwnImages) -> None:
    provenance = LINEAR_MANIFEST.provenance.model_copy(update={"recipe": "own-images-medium"})
    manifest = LINEAR_MANIFEST.model_copy(update={"provenance": provenance, "labels": images.labels, "input": SPEC})
    recipe = recipe_of(manifest)
    assert recipe is not None
    expected = network_of("medium", SPEC, 3)
    assert recipe.network.__name__ == expected.__name__
    shapes = [p.shape for p in recipe.network(Precision.parse("w4a4")).parameters()]
    assert shapes == [p.shape for p in expected(Precision.parse("w4a4")).parameters()]


@pytest.mark.parametrize("name", ["mnist", "own-images-huge", "small"])
def test_other_recipes_are_not_ours(name: str) -> None:
    provenance = LINEAR_MANIFEST.provenance.model_copy(update={"recipe": name})
    assert recipe_of(LINEAR_MANIFEST.model_copy(update={"provenance": provenance})) is None
