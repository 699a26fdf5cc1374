"""The detection threshold: chosen on clean validation images, asked of the served graphs."""

import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.data.examples import Examples, as_pixels
from runtime.bundle import MANIFEST, load_bundle
from runtime.detection import Scorer
from runtime.ensemble import Ensemble
from runtime.errors import EmpirError, InvalidValue
from runtime.manifest import BETWEEN_KINDS, Detection, Manifest, ScoreName

FALSE_ALARMS = 0.05
MOST_IMAGES = 5_000
BATCH = 250
PATIENCE_MS = 3_600_000
"""The members' deadline here: on a slow machine no image must go without its score."""


def usual_score(manifest: Manifest) -> ScoreName:
    """The one that sees an attack on full precision alone best, where there are members of both kinds to compare."""
    kinds = {member.precision.is_float for member in manifest.members}
    return "kullback_leibler" if len(kinds) == 2 else "jensen_shannon"


def choose_detection(
    ensemble: Ensemble, manifest: Manifest, validation: Examples, score: ScoreName | None = None
) -> Detection | None:
    """The score over all members, with the threshold that at most 5% of the validation images are above.

    At most 5,000 images, drawn by a fixed seed, are asked; without a `score` it is the usual one. None for a single
    member, which has nothing to disagree with. Raises InvalidValue if the score does not fit the members,
    EmpirError if a member fails on an image.
    """
    names = tuple(member.name for member in manifest.members)
    if len(names) < 2:
        return None
    score = score or usual_score(manifest)
    kinds = {member.precision.is_float for member in manifest.members}
    if score in BETWEEN_KINDS and len(kinds) != 2:
        raise InvalidValue(
            f"score: {score} compares full with low precision, and the members of {manifest.name} are all of one kind; "
            "expected jensen_shannon or disagreement"
        )
    scores = _scores(ensemble, Scorer.of(manifest, score, names), validation)
    threshold = threshold_of(scores)
    alarms = float((scores > threshold).mean())
    return Detection(score=score, threshold=threshold, members=names, images=len(scores), false_alarms=round(alarms, 6))


def threshold_of(scores: NDArray[np.float64], false_alarms: float = FALSE_ALARMS) -> float:
    """The lowest threshold that at most a share `false_alarms` of `scores` [N] is above, of those half way between two.

    Half way, because a score may differ by a rounding when the same image is asked alone or in a batch.
    """
    ordered = np.sort(scores)
    below = len(ordered) - int(false_alarms * len(ordered))
    if below == len(ordered):
        return float(ordered[-1])
    return float(ordered[below - 1] + (ordered[below] - ordered[below - 1]) / 2)


def add_detection(folder: Path, validation: Examples, score: ScoreName | None = None) -> Manifest:
    """Choose the threshold of the bundle in `folder` and write it into its manifest, of which nothing else changes.

    The version stays: it stands for the members, and so for every vote and verdict, which a threshold does not touch.
    The manifest is replaced by one rename. Raises BundleError if the bundle is not sound, and as `choose_detection`.
    """
    bundle = load_bundle(folder)
    ensemble = Ensemble.of_bundle(bundle, member_deadline_ms=PATIENCE_MS)
    try:
        detection = choose_detection(ensemble, bundle.manifest, validation, score)
    finally:
        ensemble.close()
    if detection is None:
        raise InvalidValue(f"{folder}: expected several members, whose disagreement can be scored, got one")
    # The document itself, not what was read from it: fields that it leaves to their defaults stay out.
    document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    document["detection"] = detection.model_dump(mode="json")
    written = folder / f".{MANIFEST}.new"
    written.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(written, folder / MANIFEST)
    return bundle.manifest.model_copy(update={"detection": detection})


def _scores(ensemble: Ensemble, scorer: Scorer, validation: Examples) -> NDArray[np.float64]:
    chosen = np.sort(np.random.default_rng(0).permutation(len(validation))[:MOST_IMAGES])
    parts = [chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH)]
    scores = [scorer(ensemble.predict(as_pixels(levels))) for levels in validation.batches(parts)]
    together = np.concatenate(scores)
    if np.isnan(together).any():
        raise EmpirError("detection: expected the votes of all members on every validation image, a member has failed")
    return together
