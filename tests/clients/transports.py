"""Both clients over a server that answers what it is told, with a clock that only waiting moves."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from empir_client import AsyncClient, Client, Retries
from empir_client.exchange import Chance

T = TypeVar("T")
Step = httpx.Response | Exception


@dataclass
class Scripted:
    """Answers one after the other; requests and waits are noted. `slow_s` is what each request takes of the time."""

    script: list[Step]
    slow_s: float = 0.0
    requests: list[httpx.Request] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    time: float = 1000.0

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.time += self.slow_s
        step = self.script[len(self.requests) - 1]
        if isinstance(step, Exception):
            raise step
        return step

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    @property
    def chance(self) -> Chance:
        return Chance(clock=lambda: self.time, now=lambda: self.time, draw=lambda: 1.0)


Ask = Callable[[Client], Any]
"""A call on a client; on the asynchronous one it gives an awaitable of the same."""
Run = Callable[..., Any]


def run_sync(server: Scripted, ask: Ask, **options: Any) -> Any:
    transport = httpx.MockTransport(server.handle)
    with Client("http://empir", transport=transport, chance=server.chance, sleep=server.sleep, **options) as client:
        return ask(client)


def run_async(server: Scripted, ask: Ask, **options: Any) -> Any:
    async def main() -> Any:
        transport = httpx.MockTransport(server.handle)
        client = AsyncClient("http://empir", transport=transport, chance=server.chance, sleep=server.asleep, **options)
        async with client:
            return await ask(client)  # type: ignore[arg-type]  # the same methods, awaited

    return asyncio.run(main())


RUNS = [run_sync, run_async]


def ok(document: Any) -> httpx.Response:
    return httpx.Response(200, content=json.dumps(document))


def refused(status: int, code: str, **headers: str) -> httpx.Response:
    """As the server's own `problem` writes it."""
    body = {"type": "about:blank", "title": "", "status": status, "code": code, "detail": "why", "request_id": "r1"}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(
        status, content=json.dumps(body), headers={"Content-Type": "application/problem+json", **sent}
    )


PATIENT = Retries(deadline_s=60, attempts=4, first_wait_s=1, longest_wait_s=8)
