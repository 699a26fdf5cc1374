"""Metrics: those that the design names, with those labels, counting what happens."""

from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from runtime.prediction import Mode
from service.metrics import Metrics
from tests.live import Start
from tests.toy_catalog import DOT, NO, YES, full, low, toy_catalog
from tests.toys import Array

DESIGN = {
    "http_request_duration_seconds": ("histogram", {"route", "method", "status"}),
    "stage_duration_seconds": ("histogram", {"stage"}),
    "member_inference_duration_seconds": ("histogram", {"bundle", "member", "precision"}),
    "member_failures": ("counter", {"bundle", "member", "reason"}),
    "member_skipped": ("counter", {"bundle", "member"}),
    "predictions": ("counter", {"bundle", "outcome"}),
    "agreement": ("histogram", {"bundle", "mode"}),
    "suspicious": ("counter", {"bundle"}),
    "batch_size": ("histogram", set()),
    "queue_depth": ("gauge", set()),
    "requests_rejected": ("counter", {"reason"}),
    "probe": ("counter", {"attack", "outcome"}),
    "probe_duration_seconds": ("histogram", {"attack"}),
    "bundle_info": ("gauge", {"bundle", "version", "members"}),
    "bundle_reloads": ("counter", {"outcome"}),
    "audit": ("counter", {"bundle", "result"}),
}


def test_every_metric_of_the_design_is_there_with_its_labels_and_no_other() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for name, (_, labels) in DESIGN.items():
        if labels:
            getattr(metrics, name).labels(**dict.fromkeys(labels, "x"))  # raises where they differ
    families = {family.name: family for family in registry.collect()}
    assert {name: family.type for name, family in families.items()} == {
        f"empir_{name}": kind for name, (kind, _) in DESIGN.items()
    }
    for name, (kind, labels) in DESIGN.items():
        for sample in families[f"empir_{name}"].samples:
            assert sample.labels.keys() - {"le"} == labels
        bounds = [sample.labels["le"] for sample in families[f"empir_{name}"].samples if "le" in sample.labels]
        if kind == "histogram" and name.endswith("_seconds"):
            assert bounds[0] == "0.0001"


def test_a_served_bundles_series_are_there_before_anything_happens(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(YES)))
    families = text_string_to_metric_families(server.http.get("/metrics").text)
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value for each in families for sample in each.samples
    }
    for outcome in ("unanimous", "majority", "tie_break", "no_quorum"):
        assert samples["empir_predictions_total", *sorted(("toy", outcome))] == 0
    for reason in ("error", "nonfinite", "deadline"):
        assert samples["empir_member_failures_total", *sorted(("toy", "a", reason))] == 0
    assert samples["empir_member_skipped_total", "c", "toy"] == 0
    assert samples["empir_audit_total", "dissent", "toy"] == 0


@dataclass(frozen=True)
class Case:
    """What members a, b and c say, and how the verdict comes about."""

    id: str
    votes: tuple[Array, Array, Array]
    mode: Mode
    outcome: str
    agreement: float
    skipped: int = 0


CASES = [
    Case("unanimous", (YES, YES, YES), "full", "unanimous", 1),
    Case("majority", (YES, NO, YES), "full", "majority", 2 / 3),
    Case("quorum", (YES, YES, NO), "quorum", "unanimous", 1, skipped=1),
    Case("quorum, all asked", (YES, NO, NO), "quorum", "majority", 2 / 3),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_prediction_is_counted(start: Start, case: Case) -> None:
    a, b, c = case.votes
    server = start(toy_catalog(low(a), low(b, "b"), full(c)), audit_rate=0)
    assert server.predict(DOT, mode=case.mode).status_code == 200
    assert server.metric("empir_predictions_total", bundle="toy", outcome=case.outcome) == 1
    assert server.metric("empir_agreement_count", bundle="toy", mode=case.mode) == 1
    assert server.metric("empir_agreement_sum", bundle="toy", mode=case.mode) == pytest.approx(case.agreement)
    assert server.metric("empir_member_skipped_total", bundle="toy", member="c") == case.skipped
    name = "empir_member_inference_duration_seconds_count"
    assert server.metric(name, bundle="toy", member="a", precision="w2a4") == 1
    assert server.metric(name, bundle="toy", member="c", precision="fp32") == 1 - case.skipped
    assert server.metric("empir_batch_size_sum") == server.metric("empir_batch_size_count") == 1
    for stage in ("decode", "queue", "inference", "vote"):
        assert server.metric("empir_stage_duration_seconds_count", stage=stage) == 1


def test_a_tie_is_broken_and_counted_as_such(start: Start) -> None:
    server = start(toy_catalog(low(YES), low(NO, "b", failure="error"), full(NO)))
    assert server.predict(DOT).json()["label"] == "no"
    assert server.metric("empir_predictions_total", bundle="toy", outcome="tie_break") == 1
    assert server.metric("empir_member_failures_total", bundle="toy", member="b", reason="error") == 1
    assert server.metric("empir_agreement_sum", bundle="toy", mode="full") == 0.5


def test_without_a_verdict_there_is_no_agreement(start: Start) -> None:
    server = start(toy_catalog(low(YES), low(NO, "b"), full(NO, failure="error")))
    assert server.predict(DOT).status_code == 503
    assert server.metric("empir_predictions_total", bundle="toy", outcome="no_quorum") == 1
    assert server.metric("empir_agreement_count", bundle="toy", mode="full") == 0
