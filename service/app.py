"""The application: settings and a catalog in, an ASGI app out."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from runtime.errors import EmpirError
from service import health, home, openapi, predict, probe, reports
from service.catalog import Catalog
from service.decoder import Decoder
from service.errors import handle, leave
from service.ledger import Ledger
from service.logs import make_logger
from service.metrics import Metrics
from service.middleware import Edge, HotRoute
from service.oip import routes as oip
from service.oip.hot import find_infer
from service.oip.statistics import Statistics
from service.probe_process import ProbeProcess
from service.repository import Repository
from service.scheduler import Scheduler
from service.settings import Settings
from service.state import State
from service.tracer import Tracer
from service.worker import RemoteProbes, joined

PREDICT = HotRoute(predict.PATH, predict.predict)


def hot_route(path: str) -> HotRoute | None:
    """The hot route of a path; None for those that the application routes."""
    return PREDICT if path == predict.PATH else find_infer(path)


DESCRIPTION = """An ensemble of full- and low-precision networks that vote (EMPIR, ICLR 2020).

Send an image to `/predict`; attack it with `/robustness-probe`. Errors are `application/problem+json`."""


def create_app(
    settings: Settings,
    catalog: Catalog,
    log: structlog.typing.FilteringBoundLogger | None = None,
    seed: int | None = None,
    parent: Path | None = None,
    tracer: Tracer | None = None,
    ledger: Ledger | None = None,
) -> FastAPI:
    """The application over loaded bundles.

    `seed` fixes which quorum answers are audited; `parent` is the socket of the process that this one is a worker of;
    `tracer` and `ledger` are the settings' where none is given. Raises EmpirError if their packages are missing.
    """
    metrics = Metrics(CollectorRegistry())
    for served in catalog:
        metrics.announce(served.manifest)
    logger, tracer, ledger = log or make_logger(settings), tracer or Tracer.of(settings), ledger or Ledger()
    for name, reason in catalog.damaged.items():
        logger.error("a damaged bundle is not served", bundle=name, reason=reason)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        scheduler = Scheduler(settings, metrics, random.Random(seed), ledger)
        async with _working(settings, catalog, scheduler, metrics, ledger, parent) as state:
            app.state.empir, state.tracer, state.ready = state, tracer, True
            # After the start: the first prediction does not wait for it.
            starting = asyncio.get_running_loop().create_task(state.probes.start())
            yield
            state.ready = False
            ledger.flush()
            starting.cancel()
            state.probes.close()
            scheduler.close()
            catalog.close()
            if tracer is not None:
                tracer.close()

    app = FastAPIOffline(
        title="EMPIR Serve", version=_version(), description=DESCRIPTION, lifespan=lifespan, redoc_url=None
    )
    for router in (probe.router, health.router, reports.router, home.router, oip.router):
        app.include_router(router)
    for kind in (EmpirError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, handle)
    app.add_exception_handler(ClientDisconnect, leave)
    # Around the application, not a middleware in it: hot routes go through nothing else.
    app.state.edge = Edge(app, settings, metrics, logger, hot_route, tracer, ledger)
    app.openapi = openapi.complete(app.openapi)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _working(
    settings: Settings, catalog: Catalog, scheduler: Scheduler, metrics: Metrics, ledger: Ledger, parent: Path | None
) -> AsyncIterator[State]:
    """What requests are answered with: of a process of its own, or of a worker that shares its parent's."""
    decoder = Decoder(settings.max_pixels, settings.cores, scheduler.deadline)
    if parent is None:
        probes, repository = ProbeProcess(settings.probe_queue), Repository(settings, catalog, metrics)
        yield State(settings, catalog, scheduler, decoder, metrics, probes, repository, Statistics(), ledger)
        return
    async with joined(parent, settings, catalog, metrics, ledger) as worker:
        remote, shared, done = RemoteProbes(worker.link), worker.repository, worker.statistics
        yield State(settings, catalog, scheduler, decoder, metrics, remote, shared, done, ledger, worker)


def _version() -> str:
    try:
        return version("empir-serve")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "0"
