"""Write a bundle: graphs, manifest, parity gate, final accuracy; all of it or nothing."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch

from export.bundle_folder import content_version, new_bundle_folder, provenance, write_manifest
from export.data.examples import DataSet, Examples, in_turn
from export.detection import choose_detection
from export.graphs.cost import bit_operations, multiply_accumulates
from export.graphs.gradient_graph import gradient_graph
from export.graphs.graph import OPSET
from export.graphs.integer_graph import member_graph
from export.graphs.parity import Parity, all_parities
from export.measured.measure import measured
from export.patient import patient_ensemble
from export.score_choice import Attacked
from export.training.accuracy import fit_temperature, logits_of
from export.training.recipe import Recipe
from export.training.train import Trained
from models.precision import Precision
from runtime.bundle import Bundle, load_bundle
from runtime.ensemble import Ensemble
from runtime.gradients import load_gradients
from runtime.manifest import Manifest, Member
from runtime.manifest import Precision as ManifestPrecision

BATCH = 250


def write_bundle(
    recipe: Recipe, trained: Sequence[Trained], data: DataSet, out: Path, command: str
) -> tuple[Manifest, list[Parity]]:
    """Export, check and write the ensemble to the folder `out`, whose name becomes the bundle's.

    A bundle there is replaced; the folder appears whole, by a rename, or not at all. Raises ParityError if a graph
    disagrees with its network.
    """
    with new_bundle_folder(out) as folder:
        members = tuple(_write_member(member, data, folder) for member in trained)
        manifest = _manifest(recipe, members, trained, data, out.name, command)
        write_manifest(folder, manifest)
        bundle = load_bundle(folder, gradients=True)
        with patient_ensemble(bundle) as ensemble:
            parities = all_parities([t.network for t in trained], ensemble.members, load_gradients(bundle), data.test)
            manifest = _with_accuracies(bundle, ensemble, data.test)
            detection = choose_detection(ensemble, manifest, data.validation, attacked=Attacked.of(bundle))
        figures = {"detection": detection, "measured": measured([t.network for t in trained], bundle)}
        manifest = manifest.model_copy(update=figures)
        write_manifest(folder, manifest)
    return manifest, parities


def _write_member(trained: Trained, data: DataSet, folder: Path) -> Member:
    name, shape = trained.recipe.name, data.image_shape
    precision = Precision.parse(trained.recipe.precision)
    sums = {}
    for suffix, model in (
        ("onnx", member_graph(trained.network, shape, name)),
        ("gradient.onnx", gradient_graph(trained.network, shape, len(data.labels), f"{name}-gradient")),
    ):
        onnx.save(model, folder / f"{name}.{suffix}")
        sums[suffix] = hashlib.sha256((folder / f"{name}.{suffix}").read_bytes()).hexdigest()
    return Member(
        name=name,
        precision=ManifestPrecision(weights=precision.weights, activations=precision.activations),
        file=f"{name}.onnx",
        sha256=sums["onnx"],
        gradient_file=f"{name}.gradient.onnx",
        gradient_sha256=sums["gradient.onnx"],
        opset=OPSET,
        parameters=sum(
            tensor.numel() for key, tensor in trained.network.state_dict().items() if key.endswith("weight")
        ),
        packed_bytes=(folder / f"{name}.onnx").stat().st_size,
        macs=multiply_accumulates(trained.network, shape),
        bit_operations=bit_operations(trained.network, shape),
        temperature=fit_temperature(
            logits_of(trained.network, data.validation), torch.from_numpy(data.validation.classes)
        ),
    )


def _manifest(
    recipe: Recipe, members: tuple[Member, ...], trained: Sequence[Trained], data: DataSet, name: str, command: str
) -> Manifest:
    return Manifest(
        schema_version=1,
        name=name,
        version=content_version(members, recipe.vote, data.labels, recipe.input),
        description=recipe.description,
        labels=data.labels,
        input=recipe.input,
        members=members,
        vote=recipe.vote,
        provenance=provenance(
            recipe=recipe.name,
            command=command,
            seed=trained[0].recipe.seed,
            data_set=data.name,
            data_md5=data.md5,
            skipped_images=data.skipped,
            training_seconds=round(sum(member.seconds for member in trained), 1),
        ),
    )


def _with_accuracies(bundle: Bundle, ensemble: Ensemble, test: Examples) -> Manifest:
    """The manifest with clean accuracies on the test images, through the served graphs and their vote."""
    right = np.zeros((len(ensemble.members) + 1,), dtype=np.int64)
    for index, images in enumerate(in_turn(test, BATCH)):
        prediction = ensemble.predict(images)
        classes = test.classes[index * BATCH :][: len(images)]
        right += np.array([*(prediction.votes == classes).sum(axis=1), (prediction.verdict == classes).sum()])
    shares = (right / len(test)).round(6).tolist()
    members = tuple(
        m.model_copy(update={"clean_accuracy": share})
        for m, share in zip(bundle.manifest.members, shares, strict=False)
    )
    return bundle.manifest.model_copy(update={"members": members, "clean_accuracy": shares[-1]})
