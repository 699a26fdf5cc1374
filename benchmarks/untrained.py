"""A bundle of members as they are before any training: for costs, which do not depend on what was learned."""

import hashlib
from pathlib import Path

import onnx
import torch
from torch import nn

from export.bundle_folder import content_version, new_bundle_folder, provenance, write_manifest
from export.graphs.cost import bit_operations, multiply_accumulates
from export.graphs.graph import OPSET, Shape
from export.graphs.integer_graph import member_graph
from export.training.recipe import MemberRecipe, Recipe
from models.folding import freeze
from models.precision import Precision
from runtime.manifest import Manifest, Member
from runtime.manifest import Precision as ManifestPrecision

CERTAIN = 100.0


def write_untrained(recipe: Recipe, labels: tuple[str, ...], out: Path) -> None:
    """Write the bundle to the folder `out`, without gradient graphs.

    Every member says the first class of every image, as trained members mostly agree: so a quorum stops where it would.
    """
    shape = (recipe.input.channels, recipe.input.height, recipe.input.width)
    with new_bundle_folder(out) as folder:
        members = tuple(_write_member(recipe, member, len(labels), shape, folder) for member in recipe.members)
        write_manifest(
            folder,
            Manifest(
                schema_version=1,
                name=out.name,
                version=content_version(members, recipe.vote, labels, recipe.input),
                description=f"Not trained: {recipe.description}",
                labels=labels,
                input=recipe.input,
                members=members,
                vote=recipe.vote,
                provenance=provenance(
                    recipe=recipe.name,
                    command="python -m benchmarks",
                    seed=recipe.members[0].seed,
                    data_set="none",
                    data_md5={},
                    training_seconds=0,
                ),
            ),
        )


def _write_member(recipe: Recipe, member: MemberRecipe, classes: int, shape: Shape, folder: Path) -> Member:
    precision = Precision.parse(member.precision)
    torch.manual_seed(member.seed)
    network = recipe.network(precision)
    last = network[-1]
    assert isinstance(last, nn.Linear)
    last.bias = nn.Parameter(CERTAIN * torch.eye(classes)[0])
    frozen, path = freeze(network.eval()), folder / f"{member.name}.onnx"
    onnx.save(member_graph(frozen, shape, member.name), path)
    return Member(
        name=member.name,
        precision=ManifestPrecision(weights=precision.weights, activations=precision.activations),
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        opset=OPSET,
        parameters=sum(tensor.numel() for key, tensor in frozen.state_dict().items() if key.endswith("weight")),
        packed_bytes=path.stat().st_size,
        macs=multiply_accumulates(frozen, shape),
        bit_operations=bit_operations(frozen, shape),
        temperature=1.0,
    )
