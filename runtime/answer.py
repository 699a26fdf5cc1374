"""One image's verdict and votes as the document that people and programs read."""

from typing import Any

from runtime.detection import suspicious
from runtime.errors import NoQuorum
from runtime.manifest import Manifest
from runtime.prediction import Mode, Prediction
from runtime.vote import NO_VOTE


def answer(manifest: Manifest, prediction: Prediction, mode: Mode, image: int = 0) -> dict[str, Any]:
    """Label, confidence, agreement, tally and members of one image of a prediction; times in milliseconds.

    `suspicious` is null, not false, where nothing can tell.
    Raises NoQuorum, saying what each member did, where there is no verdict.
    """
    verdict = int(prediction.verdict[image])
    if verdict == NO_VOTE:
        raise NoQuorum(_why_none(manifest, prediction, image))
    tally: dict[str, int] = {}
    for vote in prediction.votes[:, image].tolist():
        if vote != NO_VOTE:
            tally[manifest.labels[vote]] = tally.get(manifest.labels[vote], 0) + 1
    return {
        "label": manifest.labels[verdict],
        "class_index": verdict,
        "confidence": round(prediction.confidence(image), 6),
        "agreement": round(prediction.agreement(image), 6),
        "suspicious": suspicious(manifest, prediction, image),
        "degraded": prediction.degraded(image),
        "mode": mode,
        "votes": tally,
        "members": [_member(manifest, prediction, index, image) for index in range(len(manifest.members))],
    }


def milliseconds(seconds: float) -> float:
    """As answers give times: to the microsecond."""
    return round(1000 * seconds, 3)


def _member(manifest: Manifest, prediction: Prediction, index: int, image: int) -> dict[str, Any]:
    entry, vote = manifest.members[index], int(prediction.votes[index, image])
    has_vote = vote != NO_VOTE
    return {
        "name": entry.name,
        "precision": {"weights": entry.precision.weights, "activations": entry.precision.activations},
        "status": prediction.status[index][image],
        "label": manifest.labels[vote] if has_vote else None,
        "class_index": vote if has_vote else None,
        "confidence": round(float(prediction.probs[index, image, vote]), 6) if has_vote else None,
        "latency_ms": milliseconds(prediction.seconds[index]),
    }


def _why_none(manifest: Manifest, prediction: Prediction, image: int) -> str:
    rows = zip(manifest.members, prediction.status, prediction.votes[:, image].tolist(), strict=True)
    members = ", ".join(f"{m.name}: {manifest.labels[v] if v != NO_VOTE else s[image]}" for m, s, v in rows)
    return f"no class has a majority of all members and the tie-breaker has no vote ({members})"
