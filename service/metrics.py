"""Prometheus metrics of the server, in a registry that is passed in. Seconds, base units, closed sets of labels."""

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from runtime.manifest import Manifest
from runtime.prediction import Mode, Prediction
from runtime.vote import NO_VOTE

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
OUTCOMES = ("unanimous", "majority", "tie_break", "no_quorum")
REASONS = ("error", "nonfinite", "deadline")
RELOADS = ("loaded", "unloaded", "failed")
STAGES = ("decode", "queue", "inference", "vote")
MODES: tuple[Mode, ...] = get_args(Mode)
SHARES = (0.2, 0.25, 1 / 3, 0.4, 0.5, 0.6, 2 / 3, 0.75, 0.8, 1.0)


class Metrics:
    """All that is counted. Each is an attribute, named without the prefix `empir_`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.http_request_duration_seconds = Histogram(
            "empir_http_request_duration_seconds",
            "Time from a request's headers to its last answered byte.",
            ["route", "method", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        self.stage_duration_seconds = Histogram(
            "empir_stage_duration_seconds",
            "Time in each stage of a prediction.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.member_inference_duration_seconds = Histogram(
            "empir_member_inference_duration_seconds",
            "Time a member took for one call.",
            ["bundle", "member", "precision"],
            buckets=SECONDS,
            registry=registry,
        )
        self.member_failures = Counter(
            "empir_member_failures_total",
            "Images for which a member had no vote.",
            ["bundle", "member", "reason"],
            registry=registry,
        )
        self.member_skipped = Counter(
            "empir_member_skipped_total",
            "Images for which a quorum made a member unnecessary.",
            ["bundle", "member"],
            registry=registry,
        )
        self.predictions = Counter(
            "empir_predictions_total", "Verdicts, by how they came about.", ["bundle", "outcome"], registry=registry
        )
        self.agreement = Histogram(
            "empir_agreement",
            "Share of the consulted members that voted for the verdict.",
            ["bundle", "mode"],
            buckets=SHARES,
            registry=registry,
        )
        self.suspicious = Counter(
            "empir_suspicious_total", "Images above the detection threshold.", ["bundle"], registry=registry
        )
        self.batch_size = Histogram(
            "empir_batch_size", "Images predicted together.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry
        )
        self.queue_depth = Gauge(
            "empir_queue_depth", "Predictions waiting for a core.", registry=registry, multiprocess_mode="livesum"
        )
        self.requests_rejected = Counter(
            "empir_requests_rejected_total", "Requests refused, by reason.", ["reason"], registry=registry
        )
        self.probe = Counter("empir_probe_total", "Probes, by outcome.", ["attack", "outcome"], registry=registry)
        self.probe_duration_seconds = Histogram(
            "empir_probe_duration_seconds", "Time of a probe.", ["attack"], buckets=SECONDS, registry=registry
        )
        self.bundle_info = Gauge(
            "empir_bundle_info",
            "1 for each bundle that is served.",
            ["bundle", "version", "members"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.bundle_reloads = Counter(
            "empir_bundle_reloads_total", "Bundles loaded after the start.", ["outcome"], registry=registry
        )
        for outcome in RELOADS:
            self.bundle_reloads.labels(outcome)
        self.audit = Counter(
            "empir_audit_total",
            "Quorum answers whose skipped members were asked afterwards.",
            ["bundle", "result"],
            registry=registry,
        )
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
        self._audit = {result: metrics.audit.labels(name, result) for result in ("agreement", "dissent")}
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


def outcome_of(prediction: Prediction, image: int) -> str:
    """How the verdict on an image came about: unanimous, majority, tie_break or no_quorum."""
    verdict, votes = int(prediction.verdict[image]), prediction.ballots[image]
    if verdict == NO_VOTE:
        return "no_quorum"
    for_it = votes.count(verdict)
    if for_it == len(votes) - votes.count(NO_VOTE):
        return "unanimous"
    return "majority" if 2 * for_it > len(votes) else "tie_break"
