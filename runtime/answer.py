"""One image's verdict and votes as the document that people and programs read."""

from typing import Any

from runtime.errors import NoQuorum
from runtime.manifest import Manifest
from runtime.prediction import Mode, Prediction
from runtime.vote import NO_VOTE


def answer(
    manifest: Manifest, prediction: Prediction, mode: Mode, image: int = 0, *, suspicious: bool | None = None
) -> dict[str, Any]:
    """Label, confidence, agreement, tally and members of one image of a prediction; times in milliseconds.

    `suspicious` is null, not false, where nothing can tell.
    Raises NoQuorum, saying what each member did, where there is no verdict.
    """
    verdict = int(prediction.verdict[image])
    if verdict == NO_VOTE:
        raise NoQuorum(why_none(manifest, prediction, image))
    labels, votes = manifest.labels, prediction.ballots[image]
    tally: dict[str, int] = {}
    for vote in votes:
        if vote != NO_VOTE:
            tally[labels[vote]] = tally.get(labels[vote], 0) + 1
    rows = zip(manifest.members, prediction.status, votes, prediction.own_probs[image], prediction.seconds, strict=True)
    return {
        "label": labels[verdict],
        "class_index": verdict,
        "confidence": round(prediction.confidence(image), 6),
        "agreement": round(prediction.agreement(image), 6),
        "suspicious": suspicious,
        "degraded": prediction.degraded(image),
        "mode": mode,
        "votes": tally,
        "members": [
            {
                "name": entry.name,
                "precision": {"weights": entry.precision.weights, "activations": entry.precision.activations},
                "status": status[image],
                "label": labels[vote] if vote != NO_VOTE else None,
                "class_index": vote if vote != NO_VOTE else None,
                "confidence": round(prob, 6) if vote != NO_VOTE else None,
                "latency_ms": milliseconds(seconds),
            }
            for entry, status, vote, prob, seconds in rows
        ],
    }


def milliseconds(seconds: float) -> float:
    """As answers give times: to the microsecond."""
    return round(1000 * seconds, 3)


def why_none(manifest: Manifest, prediction: Prediction, image: int) -> str:
    """Why an image has no verdict: what each member voted, or what became of it."""
    rows = zip(manifest.members, prediction.status, prediction.votes[:, image].tolist(), strict=True)
    members = ", ".join(f"{m.name}: {manifest.labels[v] if v != NO_VOTE else s[image]}" for m, s, v in rows)
    return f"no class has a majority of all members and the tie-breaker has no vote ({members})"
