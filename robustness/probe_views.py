"""The parts of a probe's report that are made of predictions and images."""

import base64

import numpy as np

from robustness.probe_report import MemberView, Perturbation, Pictures, View
from robustness.victim import Array
from runtime.detection import suspicious
from runtime.images import encode_png
from runtime.manifest import Manifest
from runtime.prediction import Prediction
from runtime.vote import NO_VOTE


def in_8_bits(image: Array) -> Array:
    """As a PNG holds it."""
    rounded: Array = (np.rint(image * 255) / 255).astype(np.float32)
    return rounded


def perturbation(image: Array, adversarial: Array) -> Perturbation:
    """The size of the change between two images [1, C, H, W]."""
    change = (adversarial - image).astype(np.float64)
    return Perturbation(
        l0=int((change != 0).any(axis=1).sum()),
        l2=round(float(np.linalg.norm(change)), 6),
        linf=round(float(np.abs(change).max()), 6),
    )


def view(prediction: Prediction, manifest: Manifest) -> View:
    """What the ensemble says of the one image of a prediction."""
    verdict, suspected = int(prediction.verdict[0]), suspicious(manifest, prediction)
    if verdict == NO_VOTE:
        return View(label=None, class_index=None, confidence=None, agreement=None, suspicious=suspected)
    return View(
        label=manifest.labels[verdict],
        class_index=verdict,
        confidence=round(prediction.confidence(0), 6),
        agreement=round(prediction.agreement(0), 6),
        suspicious=suspected,
    )


def member_view(
    index: int, manifest: Manifest, clean: Prediction, after: Prediction | None, label: int, norm: float | None
) -> MemberView:
    """One member, by its place in the manifest, before the attack and, if it found something, after."""
    entry = manifest.members[index]
    before = clean.votes[index, 0]
    now = before if after is None else after.votes[index, 0]
    return MemberView(
        name=entry.name,
        precision=entry.precision,
        label_before=None if before == NO_VOTE else manifest.labels[before],
        label_after=None if now == NO_VOTE else manifest.labels[now],
        flipped=bool(before != now),
        margin_before=_margin(clean, index, label),
        margin_after=None if after is None else _margin(after, index, label),
        gradient_norm=norm,
    )


def _margin(prediction: Prediction, member: int, label: int) -> float | None:
    if prediction.votes[member, 0] == NO_VOTE:
        return None
    logits = prediction.logits[member, 0]
    return round(float(logits[label] - np.delete(logits, label).max()), 4)


def pictures(image: Array, adversarial: Array) -> Pictures:
    """Of images [1, C, H, W]."""
    change = (adversarial - image)[0]
    largest = float(np.abs(change).max())
    magnified = 0.5 + 0.5 * change / (largest or 1)
    original, attacked, shown = (
        base64.b64encode(encode_png(pixels)).decode() for pixels in (image[0], adversarial[0], magnified)
    )
    return Pictures(original=original, adversarial=attacked, perturbation=shown)
