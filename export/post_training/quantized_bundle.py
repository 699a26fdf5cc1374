"""A bundle of one float classifier and quantized copies of it, with what quantization did to each."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.bundle_folder import Source, content_version, new_bundle_folder, provenance, write_manifest
from export.data.examples import Indices
from export.graphs.graph import OPSET
from export.patient import patient_ensemble
from export.post_training.calibration import Labels, Photos
from export.post_training.classifier import Classifier
from export.post_training.kernels import integer_layers
from export.post_training.onnx_nodes import OnnxGraph
from export.post_training.operators import QuantizationError
from export.post_training.qdq_graph import qdq_graph
from export.post_training.quantization import CORRECTED, Method, quantize
from export.post_training.quantize_parameters import EXPECTED, PRECISIONS
from export.post_training.weighted_layers import weighted_layers, work_of
from models.precision import Precision
from runtime.bundle import load_bundle
from runtime.ensemble import Ensemble
from runtime.manifest import Input, Manifest, Member, Vote
from runtime.manifest import Precision as ManifestPrecision
from runtime.sessions import open_session

DESCRIPTION = (
    "Quantized after training from one float network: members that share its weights share its errors, so expect no "
    "robustness of the vote. No gradient graphs: only queries can attack it."
)


@dataclass(frozen=True)
class MemberGraph:
    """A member of a bundle to be: its graph, and how many of its layers with weights run on integer kernels."""

    name: str
    precision: Precision
    graph: bytes
    integer: int
    layers: int


@dataclass(frozen=True)
class Figures:
    """Shares of `images`: who agrees with the original, and who is right where the classes are known; ensemble last.

    `original` is the share that the float classifier itself has right.
    """

    images: int
    agreement: tuple[float, ...]
    accuracy: tuple[float, ...] | None
    original: float | None


def quantized_member(
    classifier: Classifier,
    name: str,
    precision: Precision,
    images: NDArray[np.float32],
    method: Method = CORRECTED,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> MemberGraph:
    """The member graph of `precision` (fp32, or w2a8 to w8a8), calibrated on images float32 [N, C, H, W] in [0, 1].

    Raises QuantizationError for an operator without a rule, or if a layer with weights would run in float: then its
    bits would be no bits, and its cost not what the manifest says.
    """
    if precision.is_float:
        data = classifier.model.SerializeToString()
        return MemberGraph(name, precision, data, *integer_layers(data))
    if precision not in PRECISIONS.values():
        raise QuantizationError(f"members: expected {EXPECTED}, got {precision}")
    graph = OnnxGraph(classifier.model)
    decided = quantize(graph, images, precision.weights, method, report)
    data = qdq_graph(graph, decided, name).SerializeToString()
    integer, layers = integer_layers(data)
    with_weights = len(weighted_layers(graph))
    if integer < with_weights:
        raise QuantizationError(
            f"member {name}: expected integer kernels for all {with_weights} layers with weights, "
            f"but ONNX Runtime makes them for {integer}"
        )
    return MemberGraph(name, precision, data, integer, layers)


def write_quantized_bundle(
    out: Path,
    classifier: Classifier,
    members: Sequence[MemberGraph],
    labels: Labels,
    spec: Input,
    photos: Photos,
    source: Source,
    report: Callable[[int], None] = lambda images: None,
) -> tuple[Manifest, Figures]:
    """Write the bundle `out`, whole or not at all, and measure it on `photos` as it will be served.

    `report` is told each number of images done. The vote is the majority, the tie-breaker fp32 or else the first.
    """
    names = [member.name for member in members]
    vote = Vote(rule="majority", tie_breaker="fp32" if "fp32" in names else names[0])
    with new_bundle_folder(out) as folder:
        entries = tuple(_write_member(folder, classifier, member) for member in members)
        manifest = Manifest(
            schema_version=1,
            name=out.name,
            version=content_version(entries, vote, labels.names, spec),
            description=DESCRIPTION,
            labels=labels.names,
            input=spec,
            members=entries,
            vote=vote,
            provenance=provenance(**source),
        )
        write_manifest(folder, manifest)
        with patient_ensemble(load_bundle(folder)) as ensemble:
            figures = measure(classifier, ensemble, photos, report)
        manifest = _with_skipped(_with_accuracies(manifest, figures), len(photos.unreadable))
        write_manifest(folder, manifest)
    return manifest, figures


def measure(
    classifier: Classifier, ensemble: Ensemble, photos: Photos, report: Callable[[int], None] = lambda images: None
) -> Figures:
    """What the members and the vote of an ensemble say of `photos`, against the float classifier and the classes.

    Raises DataError if none of them can be read.
    """
    original = open_session(
        classifier.model.SerializeToString(),
        "the model",
        {"image": [*classifier.shape]},
        {"logits": [classifier.classes]},
    )
    agreed = right = np.zeros(len(ensemble.members) + 1, np.int64)
    count = before = 0
    for images, classes in photos.batches():
        expected: Indices = original.run(None, {"image": images})[0].argmax(axis=1)
        prediction = ensemble.predict(images)
        answers = np.vstack([prediction.votes, prediction.verdict])
        before += int((expected == classes).sum())
        agreed, right = agreed + (answers == expected).sum(axis=1), right + (answers == classes).sum(axis=1)
        count += len(images)
        report(count)
    if not count:
        raise photos.none_readable("for the figures")
    agreement, accuracy = (tuple((total / count).round(6).tolist()) for total in (agreed, right))
    if not photos.labelled:
        return Figures(count, agreement, None, None)
    return Figures(count, agreement, accuracy, round(before / count, 6))


def _write_member(folder: Path, classifier: Classifier, member: MemberGraph) -> Member:
    file = folder / f"{member.name}.onnx"
    file.write_bytes(member.graph)
    graph = OnnxGraph(classifier.model)
    layers = weighted_layers(graph)
    macs = work_of(graph, layers, classifier.shape)
    return Member(
        name=member.name,
        precision=ManifestPrecision(weights=member.precision.weights, activations=member.precision.activations),
        file=file.name,
        sha256=hashlib.sha256(member.graph).hexdigest(),
        gradient_file=None,
        gradient_sha256=None,
        opset=OPSET,
        parameters=sum(int(layer.weight.size) for layer in layers),
        packed_bytes=len(member.graph),
        macs=macs,
        bit_operations=macs * member.precision.weights * member.precision.activations,
        temperature=1.0,
        clean_accuracy=None,
    )


def _with_skipped(manifest: Manifest, more: int) -> Manifest:
    """The unreadable pictures among those for the figures count too."""
    skipped = manifest.provenance.skipped_images + more
    return manifest.model_copy(
        update={"provenance": manifest.provenance.model_copy(update={"skipped_images": skipped})}
    )


def _with_accuracies(manifest: Manifest, figures: Figures) -> Manifest:
    if figures.accuracy is None:
        return manifest
    members = tuple(
        member.model_copy(update={"clean_accuracy": share})
        for member, share in zip(manifest.members, figures.accuracy, strict=False)
    )
    return manifest.model_copy(update={"members": members, "clean_accuracy": figures.accuracy[-1]})
