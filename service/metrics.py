"""Prometheus metrics of the server, in a registry that is passed in. Seconds, base units, closed sets of labels."""

from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from runtime.manifest import Manifest
from runtime.prediction import MODES, Mode, Prediction
from runtime.vote import NO_VOTE

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
OUTCOMES = ("unanimous", "majority", "tie_break", "no_quorum")
REASONS = ("error", "nonfinite", "deadline")
RELOADS = ("loaded", "unloaded", "failed")
AUDITS = ("agreement", "dissent", "dropped")
STAGES = ("decode", "queue", "inference", "vote")
BATCHES = (1, 2, 4, 8, 16, 32, 64)
SHARES = (0.2, 0.25, 1 / 3, 0.4, 0.5, 0.6, 2 / 3, 0.75, 0.8, 1.0)


class Metrics:
    """All that is counted. Each is an attribute, named without the prefix `empir_`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"empir_{name}_total", says, labels, registry=registry)

        def histogram(name: str, says: str, *labels: str, buckets: Sequence[float] = SECONDS) -> Histogram:
            return Histogram(f"empir_{name}", says, labels, buckets=buckets, registry=registry)

        def gauge(name: str, says: str, *labels: str, over_workers: Literal["livesum", "livemax"]) -> Gauge:
            return Gauge(f"empir_{name}", says, labels, registry=registry, multiprocess_mode=over_workers)

        self.registry = registry
        headers_to_answer = "Time from a request's headers to its last answered byte."
        self.http_request_duration_seconds = histogram(
            "http_request_duration_seconds", headers_to_answer, "route", "method", "status"
        )
        self.stage_duration_seconds = histogram(
            "stage_duration_seconds", "Time in each stage of a prediction.", "stage"
        )
        self.member_inference_duration_seconds = histogram(
            "member_inference_duration_seconds", "Time a member took for one call.", "bundle", "member", "precision"
        )
        self.member_failures = counter(
            "member_failures", "Images for which a member had no vote.", "bundle", "member", "reason"
        )
        self.member_skipped = counter(
            "member_skipped", "Images for which a quorum made a member unnecessary.", "bundle", "member"
        )
        self.predictions = counter("predictions", "Verdicts, by how they came about.", "bundle", "outcome")
        share = "Share of the consulted members that voted for the verdict."
        self.agreement = histogram("agreement", share, "bundle", "mode", buckets=SHARES)
        self.suspicious = counter("suspicious", "Images above the detection threshold.", "bundle")
        self.batch_size = histogram("batch_size", "Images predicted together.", buckets=BATCHES)
        self.queue_depth = gauge("queue_depth", "Predictions waiting for a core.", over_workers="livesum")
        self.requests_rejected = counter("requests_rejected", "Requests refused, by reason.", "reason")
        self.probe = counter("probe", "Probes, by outcome.", "attack", "outcome")
        self.probe_duration_seconds = histogram("probe_duration_seconds", "Time of a probe.", "attack")
        served = "1 for each bundle that is served."
        self.bundle_info = gauge("bundle_info", served, "bundle", "version", "members", over_workers="livemax")
        self.bundle_reloads = counter("bundle_reloads", "Bundles loaded after the start.", "outcome")
        for outcome in RELOADS:
            self.bundle_reloads.labels(outcome)
        asked = "Quorum answers chosen for an audit: what their skipped members said afterwards, or dropped unasked."
        self.audit = counter("audit", asked, "bundle", "result")
        self._bundles: dict[tuple[str, str, int, str], BundleMetrics] = {}

    def of(self, manifest: Manifest) -> "BundleMetrics":
        """The series of a bundle."""
        members = manifest.members  # of a bundle, or one of them alone
        key = (manifest.name, manifest.version, len(members), members[0].name)
        if key not in self._bundles:
            self._bundles[key] = BundleMetrics(self, manifest)
        return self._bundles[key]

    def announce(self, manifest: Manifest) -> None:
        """Say that a bundle is served, with its series at 0."""
        self.bundle_info.labels(manifest.name, manifest.version, _members(manifest)).set(1)
        self.of(manifest)

    def retire(self, manifest: Manifest) -> None:
        """Say that a bundle is not served any more. Its series stay: requests under way still count on them."""
        self.bundle_info.labels(manifest.name, manifest.version, _members(manifest)).set(0)


def _members(manifest: Manifest) -> str:
    return ",".join(f"{member.name}:{member.precision}" for member in manifest.members)


class BundleMetrics:
    """The series of one bundle, looked up once: at 0 from the start, so that rates are right from the first event."""

    def __init__(self, metrics: Metrics, manifest: Manifest) -> None:
        name, members = manifest.name, manifest.members
        self._batch_size = metrics.batch_size
        self._outcomes = {outcome: metrics.predictions.labels(name, outcome) for outcome in OUTCOMES}
        self._agreement = {mode: metrics.agreement.labels(name, mode) for mode in MODES}
        self._skipped = [metrics.member_skipped.labels(name, m.name) for m in members]
        self._seconds = [
            metrics.member_inference_duration_seconds.labels(name, m.name, str(m.precision)) for m in members
        ]
        self._failures = [
            {reason: metrics.member_failures.labels(name, m.name, reason) for reason in REASONS} for m in members
        ]
        self._audit = {result: metrics.audit.labels(name, result) for result in AUDITS}
        self._suspicious = metrics.suspicious.labels(name)
        self._stages = {stage: metrics.stage_duration_seconds.labels(stage) for stage in STAGES}

    def ran(self, prediction: Prediction) -> None:
        """Count one batch: its size, the time of each member that was asked, and what became of each vote."""
        self._batch_size.observe(len(prediction.verdict))
        for index, (statuses, span) in enumerate(zip(prediction.status, prediction.spans, strict=True)):
            if span is not None:
                self._seconds[index].observe(prediction.seconds[index])
            if skipped := statuses.count("skipped"):
                self._skipped[index].inc(skipped)
            if statuses.count("ok") + skipped < len(statuses):
                for status in statuses:
                    if status not in ("ok", "skipped"):
                        self._failures[index][status].inc()

    def predicted(self, prediction: Prediction, image: int, mode: Mode) -> None:
        """Count one image's verdict."""
        outcome = outcome_of(prediction, image)
        self._outcomes[outcome].inc()
        if outcome != "no_quorum":
            self._agreement[mode].observe(prediction.agreement(image))

    def staged(self, stages: dict[str, float]) -> None:
        """Count the seconds of each stage of one request."""
        for stage, seconds in stages.items():
            self._stages[stage].observe(seconds)

    def suspected(self) -> None:
        """Count one image above the detection threshold."""
        self._suspicious.inc()

    def audited(self, dissent: bool) -> None:
        """Count one audit."""
        self._audit["dissent" if dissent else "agreement"].inc()

    def audits_dropped(self, count: int) -> None:
        """Count images that were chosen for an audit, and for which no core was idle in time."""
        self._audit["dropped"].inc(count)


def outcome_of(prediction: Prediction, image: int) -> str:
    """How the verdict on an image came about: unanimous, majority, tie_break or no_quorum."""
    verdict, votes = int(prediction.verdict[image]), prediction.ballots[image]
    if verdict == NO_VOTE:
        return "no_quorum"
    for_it = votes.count(verdict)
    if for_it == len(votes) - votes.count(NO_VOTE):
        return "unanimous"
    return "majority" if 2 * for_it > len(votes) else "tie_break"
