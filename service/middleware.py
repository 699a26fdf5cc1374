"""The edge of the application: hot routes, one log line and one measurement for each request."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import structlog
from prometheus_client import Histogram
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service.body_budget import BodyBudget
from service.errors import CLIENT_LEFT, REFUSALS, CallerLeft
from service.exchange import Exchange
from service.ledger import Ledger
from service.metrics import Metrics
from service.settings import Settings
from service.tracer import RequestTrace, Tracer

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class HotRoute(NamedTuple):
    """POST to a path that the edge answers itself: there is nothing between the socket and the handler but the edge."""

    pattern: str
    """Of the path; a metric's label."""
    handle: Callable[[Exchange], Awaitable[None]]


HotRoutes = Callable[[str], HotRoute | None]


class Edge:
    """Pure ASGI: BaseHTTPMiddleware would hide that a client has left."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        hot: HotRoutes = lambda path: None,
        tracer: Tracer | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._app, self._settings, self._metrics, self._log = app, settings, metrics, log
        self._hot, self._tracer, self._ledger = hot, tracer, ledger or Ledger(1)
        self.bodies = BodyBudget(settings.max_bodies_bytes)
        self._durations: dict[tuple[str, str, int], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        exchange = Exchange(scope, receive, send, self._settings, self.bodies)
        trace = RequestTrace(self._tracer, exchange.header(b"traceparent"), start, exchange.log)
        exchange.traceparent, exchange.parts = trace.traceparent, trace.parts
        try:
            exchange.check_head()
            hot = self._hot(scope["path"])
            if hot is None:
                await self._app(scope, exchange.receive, exchange.send)
            else:
                exchange.route = hot.pattern
                if scope["method"] != "POST":
                    raise HTTPException(405, "Method Not Allowed", {"Allow": "POST"})
                scope["app"] = self._app
                await hot.handle(exchange)
        except (ClientDisconnect, CallerLeft):
            exchange.status = exchange.status or CLIENT_LEFT
        except Exception as error:
            begun = exchange.status != 0
            if not begun:
                await exchange.refuse(error)
            if begun or exchange.code == "internal":
                self._ledger.flush()
                self._log.error("failed", request_id=exchange.request_id, exc_info=error)
        finally:
            exchange.end()
            self._ledger.note(partial(self._record, exchange, start, time.perf_counter(), trace))

    def _record(self, exchange: Exchange, start: float, end: float, trace: RequestTrace) -> None:
        for entry in exchange.after:
            entry()
        scope, seconds = exchange.scope, end - start
        route: str = exchange.route or getattr(scope.get("route"), "path", "other") or "other"
        method: str = scope["method"] if scope["method"] in METHODS else "other"
        status = exchange.status or CLIENT_LEFT
        series = (route, method, status)  # a closed set; looking it up here spares the labels' checks
        if series not in self._durations:
            self._durations[series] = self._metrics.http_request_duration_seconds.labels(*series)
        self._durations[series].observe(seconds)
        if (code := exchange.code) is not None:
            exchange.log["code"] = code
            if code in REFUSALS:
                self._metrics.requests_rejected.labels(code).inc()
        self._log.info(
            "request",
            request_id=exchange.request_id,
            method=method,
            path=scope["path"],
            status=status,
            ms=round(1000 * seconds, 2),
            **exchange.log,
        )
        about: dict[str, str | int] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "empir.request_id": exchange.request_id,
        }
        trace.end(f"{method} {route}", end, about)
