"""A worker tells its parent what it has done, unasked: as it goes along, and when it ends."""

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from service.ledger import Ledger
from service.link import Link
from service.metrics import Metrics
from service.oip.statistics import Statistics
from service.settings import Settings
from service.worker import Generations, identity, joined
from tests.live import HANG_S
from tests.toy_catalog import YES, full, low, toy_catalog


def test_a_worker_hands_over_what_it_has_done(tmp_path: Path) -> None:
    told: list[int] = []

    async def answer(what: str, *arguments: Any) -> Generations | None:
        match what, *arguments:
            case "hello", _, generations:
                hers: Generations = generations
                return hers
            case "tally", statistics:
                told.append(done(statistics))
        return None

    async def main() -> None:
        links: list[Link] = []
        server = await asyncio.start_unix_server(
            lambda reader, writer: links.append(Link(reader, writer, answer)), str(tmp_path / "link")
        )
        metrics = Metrics(CollectorRegistry())
        catalog = toy_catalog(low(YES), full(YES))
        async with joined(tmp_path / "link", Settings(default="toy"), catalog, metrics, Ledger(1)) as worker:
            for count in (1, 2):
                answered(worker.statistics)
                while told != list(range(1, count + 1)):
                    await asyncio.sleep(0.001)
            answered(worker.statistics)
        assert told == [1, 2, 3]
        await links[0].closed()
        server.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_bundles_that_differ_in_anything_differ_in_identity() -> None:
    manifest = toy_catalog(low(YES), full(YES)).get("toy").manifest
    same, other = manifest.model_copy(), manifest.model_copy(update={"labels": ("yes", "no")})
    assert identity(manifest) == identity(same) != identity(other)
    assert other.version == manifest.version and identity(manifest).startswith(manifest.version)


def answered(statistics: Statistics) -> None:
    """One request more."""
    statistics.of("toy", "1").tallies["success"].add(0.001)


def done(statistics: Statistics) -> int:
    """How many requests there were."""
    return statistics.of("toy", "1").tallies["success"].count
