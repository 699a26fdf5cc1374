"""What an evaluation of the detector reports: which attackers it sees, and how many clean images it mistakes."""

from typing import Any, Literal

from pydantic import Field

from robustness.reporting.share import Part, Share
from runtime.manifest import ScoreName

Attacker = Literal["unaware", "vote-aware", "detector-aware"]


Interval = tuple[float, float]


class Way(Part):
    """One way in which an attacker goes about it: a loss, and which iterate counts of those images that it turned."""

    loss: str
    keeps: str
    succeeded: int
    auroc: float | None
    interval: Interval | None = Field(description="95% (Hanley and McNeil's error, at the limits); null without any.")
    detected: Share


class AttackerRow(Part):
    """One attacker, by the way that is seen worst of those `ways` that turn at least half as many images as the best.

    Only images count whose verdict was right before the attack and is wrong after it.
    """

    attacker: Attacker
    attacked: int = Field(description="Images whose clean verdict is right.")
    succeeded: int = Field(description="Of these, whose verdict the attacker turned.")
    auroc: float | None = Field(
        description="That a turned image has a higher score than a clean one, ties counting half; null without any."
    )
    interval: Interval | None = Field(None, description="Of the area, 95%; null without any, and in older reports.")
    detected: Share = Field(description="Of the turned images, those above the threshold.")
    parameters: dict[str, Any]
    ways: list[Way] = Field([], description="All that it tried; none in reports of suite version 3 and before.")


class DetectionReport(Part):
    """A bundle's detector against three attackers who know more and more."""

    score: ScoreName
    threshold: float
    threshold_images: int | None = Field(
        None, description="Clean validation images on which the threshold was chosen; null where nobody wrote it down."
    )
    members: list[str] = Field(description="Whose answers the score compares.")
    seed: int
    known_first: int | None = Field(
        None,
        description="Of the images attacked, so many came first because the suite had broken them; null: as drawn. So "
        "`succeeded` of `attacked` is no success rate.",
    )
    clean_false_alarms: Share = Field(
        description="Of the clean test images; the threshold was chosen on validation images."
    )
    attackers: list[AttackerRow]
