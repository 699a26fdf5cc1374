"""What an evaluation of the detector reports: which attackers it sees, and how many clean images it mistakes."""

from typing import Any, Literal

from pydantic import Field

from robustness.reporting.share import Part, Share
from runtime.manifest import ScoreName

Attacker = Literal["unaware", "vote-aware", "detector-aware"]


class AttackerRow(Part):
    """One attacker. Only images count whose verdict was right before the attack and is wrong after it."""

    attacker: Attacker
    attacked: int = Field(description="Images whose clean verdict is right.")
    succeeded: int = Field(description="Of these, whose verdict the attacker turned.")
    auroc: float | None = Field(
        description="That a turned image has a higher score than a clean one, ties counting half; null without any."
    )
    detected: Share = Field(description="Of the turned images, those above the threshold.")
    parameters: dict[str, Any]


class DetectionReport(Part):
    """A bundle's detector against three attackers who know more and more."""

    score: ScoreName
    threshold: float
    members: list[str] = Field(description="Whose answers the score compares.")
    seed: int
    clean_false_alarms: Share = Field(
        description="Of the clean test images; the threshold was chosen on validation images."
    )
    attackers: list[AttackerRow]
