"""The client against the real server."""

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from empir_client import (
    AsyncClient,
    Client,
    Concurrency,
    ConnectionFailed,
    InvalidValue,
    NoReport,
    NotAnImage,
    Probe,
    Problem,
    Retries,
    UnknownBundle,
)

from robustness.reporting.report import REPORT
from runtime.bundle import MANIFEST
from tests.live import HANG_S, Live, Start
from tests.service.conftest import picture, server, start
from tests.toy_bundle import LABELS, ToyBundle
from tests.toy_catalog import DOT, YES, Gate, bundle_catalog, full, toy_catalog
from tests.toy_report import toy_report
from tests.toys import W2A4

__all__ = ["picture", "server", "start"]

BRIEF = Retries(deadline_s=30, attempts=1)


def url(running: Live) -> str:
    return f"http://127.0.0.1:{running.port}"


@pytest.fixture
def client(server: Live) -> Iterator[Client]:
    # A transport of its own: a proxy in the developer's environment is not asked.
    with Client(url(server), retries=BRIEF, transport=httpx.HTTPTransport()) as connected:
        yield connected


def test_a_prediction_has_all_that_the_server_says(client: Client, server: Live, picture: bytes) -> None:
    found = client.predict(picture, mode="full", bundle="toy")
    said = server.predict(picture).json()
    assert (found.label, found.class_index, found.votes) == (LABELS[0], 0, said["votes"])
    assert (found.confidence, found.agreement, found.suspicious) == (said["confidence"], said["agreement"], None)
    assert [(m.name, str(m.precision), m.status) for m in found.members] == [
        *(("w2a4-a", "w2a4", "ok"), ("w2a4-b", "w2a4", "ok"), ("fp32", "fp32", "ok")),
    ]
    assert (found.bundle.name, found.bundle.version) == ("toy", "1")
    assert server.logged(found.request_id)
    skipped = client.predict(picture, mode="quorum").members[2]
    assert (skipped.status, skipped.label) == ("skipped", None)


def test_a_probe_has_all_that_the_server_says(client: Client, picture: bytes) -> None:
    probe = client.probe(picture, eps=0.9, steps=20, attack="pgd", seed=3)
    assert isinstance(probe, Probe)
    assert (probe.outcome, probe.confirmed_on_served, probe.clean.label) == ("broken", True, LABELS[0])
    assert (probe.attack.eps, probe.attack.steps, probe.attack.seed) == (0.9, 20, 3)
    assert probe.adversarial is not None and probe.adversarial.label != LABELS[0]
    assert probe.perturbation is not None and 0 < probe.perturbation.linf <= 0.9 + 1e-6
    assert [probe.images.png(name)[:4] for name in ("original", "adversarial", "perturbation")] == [b"\x89PNG"] * 3
    assert len(probe.members) == 3


def test_bundles_and_readiness(client: Client, server: Live, toy: ToyBundle) -> None:
    assert client.ready()
    found = client.bundles()
    bundle = found[found.default]
    assert (bundle.name, bundle.labels, bundle.report) == ("toy", LABELS, None)
    assert (bundle.input.channels, bundle.input.height, bundle.input.width) == (1, 8, 8)
    assert [str(member.precision) for member in bundle.members] == [str(m.precision) for m in toy.manifest.members]
    assert bundle.vote.tie_breaker == "fp32"
    assert [(member.engine, member.reason) for member in bundle.members] == [("onnxruntime", None)] * 3
    timing = server.state.catalog.get("toy").ensemble.timing
    assert timing is not None
    milliseconds = (1000 * timing.in_turn, 1000 * timing.side_by_side)
    assert bundle.concurrency == Concurrency("auto", timing.chosen, *milliseconds, timing.cores)


def test_a_report_has_its_head_and_the_whole(start: Start, toy: ToyBundle, toy_copy: Path) -> None:
    manifest = toy.manifest.model_copy(update={"report": REPORT})
    report = toy_report(manifest)
    (toy_copy / MANIFEST).write_text(manifest.model_dump_json())
    (toy_copy / REPORT).write_text(report.model_dump_json())
    with Client(url(start(bundle_catalog(toy_copy))), transport=httpx.HTTPTransport()) as connected:
        found = connected.report("toy")
    assert (found.suite, found.norm, found.eps, found.seed) == (report.suite, report.norm, report.eps, report.seed)
    assert (found.clean.n, found.robust.share) == (report.clean.n, report.robust.share)
    assert found.document == report.model_dump(mode="json")


def test_refusals_come_with_their_class_and_words(client: Client, server: Live) -> None:
    with pytest.raises(NotAnImage, match="expected PNG") as caught:
        client.predict(b"text")
    assert caught.value.request_id and server.logged(caught.value.request_id)
    with pytest.raises(UnknownBundle, match="expected toy, got 'no'"):
        client.predict(b"", bundle="no")
    with pytest.raises(InvalidValue, match="eps"):
        client.probe(b"", eps="far")
    with pytest.raises(NoReport):
        client.report("toy")
    with pytest.raises(Problem) as elsewhere:
        client.report("../toy")  # no path of the server's but a name
    assert elsewhere.value.code == "not_found"


def test_a_full_queue_asks_to_come_back_and_it_does(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.settings.usable_cores", lambda: 1)
    gate = Gate("a", W2A4, YES)
    running = start(toy_catalog(gate, full(YES)), queue=0)
    waits: list[float] = []
    with ThreadPoolExecutor(1) as callers:
        busy = callers.submit(running.predict, DOT)

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            gate.opened.set()
            busy.result()

        assert gate.entered.wait(HANG_S)
        with Client(url(running), transport=httpx.HTTPTransport(), sleep=sleep) as connected:
            assert connected.predict(DOT).label == "yes"
    assert len(waits) == 1 and 1 < waits[0] <= 1.1  # Retry-After says 1


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", retries=BRIEF, transport=httpx.HTTPTransport()) as client:
        assert not client.ready()
        with pytest.raises(ConnectionFailed, match="POST /predict"):
            client.predict(b"")


def test_many_at_once_on_an_event_loop(server: Live, picture: bytes) -> None:
    async def main() -> list[str]:
        transport = httpx.AsyncHTTPTransport()
        async with AsyncClient(url(server), transport=transport) as connected:
            answers = await asyncio.gather(*(connected.predict(picture) for _ in range(8)))
            assert await connected.ready()
        return [answer.label for answer in answers]

    assert asyncio.run(main()) == [LABELS[0]] * 8
