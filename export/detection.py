"""The detector: its score and its threshold, chosen on validation images, asked of the served graphs."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.data.examples import Examples, as_pixels
from export.patient import patient_ensemble
from export.score_choice import Attacked, best_of, fitting_scores, measure_scores, usual_score
from runtime.aside import write_aside
from runtime.bundle import MANIFEST, load_bundle
from runtime.detection import Scorer
from runtime.ensemble import Ensemble
from runtime.errors import EmpirError, InvalidValue
from runtime.manifest import Detection, Manifest, ScoreName

FALSE_ALARMS = 0.05
MOST_IMAGES = 5_000
BATCH = 250


def choose_detection(
    ensemble: Ensemble,
    manifest: Manifest,
    validation: Examples,
    score: ScoreName | None = None,
    attacked: Attacked | None = None,
) -> Detection | None:
    """The score over all members, with the threshold that at most 5% of the validation images are above.

    At most 5,000 images, drawn by a fixed seed, are asked. Without a `score` it is the one that sees best the attack on
    the member `attacked` alone, on validation images too; without that member, the usual one. None for a single member,
    which has nothing to disagree with. Raises InvalidValue if the score does not fit the members, EmpirError if a
    member fails on an image.
    """
    names = tuple(member.name for member in manifest.members)
    if len(names) < 2:
        return None
    usual, fitting = usual_score(manifest), fitting_scores(manifest)
    if score is not None and score not in fitting:
        raise InvalidValue(
            f"score: {score} compares full with low precision, and the members of {manifest.name} are all of one kind; "
            "expected jensen_shannon or disagreement"
        )
    measured = fitting if score is None and attacked is not None else [score or usual]
    clean = _scores(ensemble, {name: Scorer.of(manifest, name, names) for name in measured}, validation)
    choice = None
    if score is None and attacked is not None:
        choice = measure_scores(ensemble, manifest, validation, attacked, clean)
    best = score or (usual if choice is None else best_of(choice, usual))
    threshold = threshold_of(clean[best])
    alarms = float((clean[best] > threshold).mean())
    return Detection(
        score=best,
        threshold=threshold,
        members=names,
        images=len(clean[best]),
        false_alarms=round(alarms, 6),
        chosen=choice,
    )


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
    bundle = load_bundle(folder, gradients=True)
    with patient_ensemble(bundle) as ensemble:
        detection = choose_detection(ensemble, bundle.manifest, validation, score, Attacked.of(bundle))
    if detection is None:
        raise InvalidValue(f"{folder}: expected several members, whose disagreement can be scored, got one")
    # The document itself, not what was read from it: fields that it leaves to their defaults stay out.
    document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    document["detection"] = detection.model_dump(mode="json")
    write_aside(folder / MANIFEST, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    return bundle.manifest.model_copy(update={"detection": detection})


def _scores(
    ensemble: Ensemble, scorers: Mapping[ScoreName, Scorer], validation: Examples
) -> dict[ScoreName, NDArray[np.float64]]:
    chosen = np.sort(np.random.default_rng(0).permutation(len(validation))[:MOST_IMAGES])
    parts = [chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH)]
    scores: dict[ScoreName, list[NDArray[np.float64]]] = {name: [] for name in scorers}
    for levels in validation.batches(parts):
        prediction = ensemble.predict(as_pixels(levels))
        for name, scorer in scorers.items():
            scores[name].append(scorer(prediction))
    together = {name: np.concatenate(each) for name, each in scores.items()}
    if any(np.isnan(each).any() for each in together.values()):
        raise EmpirError("detection: expected the votes of all members on every validation image, a member has failed")
    return together
