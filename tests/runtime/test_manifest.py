"""Manifests: what they refuse, and the schema that is checked in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.manifest import Input, Manifest
from tests.toy_bundle import ToyBundle

SCHEMA = Path(__file__).parents[2] / "runtime" / "manifest.schema.json"

Edit = Callable[[dict[str, Any]], Any]


def test_the_schema_that_is_checked_in_is_the_manifests() -> None:
    schema = json.dumps(Manifest.model_json_schema(), indent=2, sort_keys=True) + "\n"
    assert SCHEMA.read_text(encoding="utf-8") == schema, f"write json.dumps(..., indent=2, sort_keys=True) to {SCHEMA}"


def test_a_manifest_survives_json(toy: ToyBundle) -> None:
    assert Manifest.model_validate_json(toy.manifest.model_dump_json()) == toy.manifest


def detection(**fields: Any) -> dict[str, Any]:
    """A detection threshold of the toy bundle, with these fields instead."""
    return {"score": "jensen_shannon", "threshold": 0.1, "members": ["w2a4-a", "fp32"], **fields}


def test_a_threshold_needs_no_more_than_score_threshold_and_members(toy: ToyBundle) -> None:
    manifest = json.loads(toy.manifest.model_dump_json()) | {"detection": detection()}
    read = Manifest.model_validate_json(json.dumps(manifest)).detection
    assert read is not None and (read.threshold, read.images, read.false_alarms) == (0.1, None, None)


REFUSED: dict[str, tuple[Edit, str]] = {
    "unknown key": (lambda m: m.update(colour="red"), "colour"),
    "unknown key of a member": (lambda m: m["members"][1].update(colour="red"), "members.1.colour"),
    "missing key": (lambda m: m.pop("labels"), "labels"),
    "another schema": (lambda m: m.update(schema_version=2), "schema_version"),
    "NaN": (lambda m: m["members"][0].update(temperature=float("nan")), "members.0.temperature"),
    "infinity": (lambda m: m["provenance"].update(training_seconds=float("inf")), "provenance.training_seconds"),
    "temperature 0": (lambda m: m["members"][0].update(temperature=0), "members.0.temperature"),
    "accuracy above 1": (lambda m: m["members"][0].update(clean_accuracy=98.8), "members.0.clean_accuracy"),
    "name with a slash": (lambda m: m.update(name="../toy"), "name"),
    "name in capitals": (lambda m: m.update(name="Toy"), "name"),
    "name with a line break": (lambda m: m.update(name="toy\n"), "name"),
    "file outside": (lambda m: m["members"][0].update(file="../fp32.onnx"), "members.0.file"),
    "absolute file": (lambda m: m["members"][0].update(file="/etc/passwd"), "members.0.file"),
    "hidden file": (lambda m: m["members"][0].update(file=".fp32.onnx"), "members.0.file"),
    "short sum": (lambda m: m["members"][0].update(sha256="abc"), "members.0.sha256"),
    "gradient without its sum": (lambda m: m["members"][0].update(gradient_sha256=None), "members.0"),
    "no members": (lambda m: m.update(members=[]), "members"),
    "one label": (lambda m: m.update(labels=["a"]), "labels"),
    "equal labels": (lambda m: m.update(labels=["a", "b", "c", "a"]), "labels"),
    "equal members": (lambda m: m["members"][0].update(name="fp32"), "expected names that differ"),
    "unknown tie-breaker": (lambda m: m["vote"].update(tie_breaker="w8a8"), "got 'w8a8'"),
    "no tie-breaker": (lambda m: m["vote"].update(tie_breaker=None), "got None"),
    "unknown tie-breaker of an average": (
        lambda m: m["vote"].update(rule="average", tie_breaker="w8a8"),
        "got 'w8a8'",
    ),
    "unknown score": (lambda m: m.update(detection=detection(score="entropy")), "detection.score"),
    "threshold NaN": (lambda m: m.update(detection=detection(threshold=float("nan"))), "detection.threshold"),
    "a score of one member": (lambda m: m.update(detection=detection(members=["fp32"])), "detection.members"),
    "a score of an unknown member": (
        lambda m: m.update(detection=detection(members=["fp32", "w8a8"])),
        "detection.members: expected names of ['w2a4-a', 'w2a4-b', 'fp32'] that differ, got ['fp32', 'w8a8']",
    ),
    "a score of a member and itself": (lambda m: m.update(detection=detection(members=["fp32"] * 2)), "that differ"),
    "a gap of one kind of members": (
        lambda m: m.update(detection=detection(score="margin_gap", members=["w2a4-a", "w2a4-b"])),
        "margin_gap compares full with low precision; expected members of both",
    ),
    "two channels": (lambda m: m["input"].update(channels=2), "input.channels"),
    "digit in a small image": (lambda m: m["input"].update(resize="digit"), "at least 20 x 20"),
}


@pytest.mark.parametrize(("edit", "says"), REFUSED.values(), ids=REFUSED)
def test_refused(toy: ToyBundle, edit: Edit, says: str) -> None:
    manifest = json.loads(toy.manifest.model_dump_json())
    edit(manifest)
    with pytest.raises(ValidationError) as refusal:
        Manifest.model_validate_json(json.dumps(manifest))
    error = refusal.value.errors()[0]
    assert says in ".".join(map(str, error["loc"])) + ": " + error["msg"]


def test_a_digit_fits_where_mnist_does() -> None:
    assert Input(channels=1, height=28, width=28, resize="digit").resize == "digit"
