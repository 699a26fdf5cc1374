"""The client for programs on an event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from empir_client import calls, wire
from empir_client.answers import Prediction, Probe, Report
from empir_client.bundles import Bundles
from empir_client.calls import Call, ImageSource, Mode, ProbeParameters
from empir_client.errors import ClientError
from empir_client.exchange import Chance, Lost, Reply, Send, exchange
from empir_client.retries import Retries

T = TypeVar("T")


class AsyncClient:
    """A connection to one server; for one event loop. Close it, or use it in an `async with`.

    Every method raises Problem where the server refuses, ConnectionFailed where it cannot be reached, ClientTimeout
    where the deadline of `retries` is over, and UnexpectedAnswer where what answers is not EMPIR Serve.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        retries: Retries | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        chance: Chance | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`headers` go with every request, a key for a proxy, say; `transport`, `chance` and `sleep` are for tests."""
        self._http = httpx.AsyncClient(**wire.options(base_url, headers), transport=transport)
        self._retries, self._chance, self._sleep = retries or Retries(), chance or Chance(), sleep

    async def predict(self, image: ImageSource, mode: Mode | None = None, bundle: str | None = None) -> Prediction:
        """Classify an image; what is None is the server's default. Raises OSError for a path that cannot be read."""
        return await self._call(calls.predict(image, mode, bundle))

    async def probe(self, image: ImageSource, **parameters: Unpack[ProbeParameters]) -> Probe:
        """Attack an image, and report whether the vote holds. Raises OSError for a path that cannot be read."""
        return await self._call(calls.probe(image, parameters))

    async def bundles(self) -> Bundles:
        """The bundles that are served."""
        return await self._call(calls.bundles())

    async def report(self, bundle: str) -> Report:
        """How robust a bundle is. Raises NoReport where nobody has measured it."""
        return await self._call(calls.report(bundle))

    async def ready(self) -> bool:
        """Whether the server is there and takes work; asked once."""
        try:
            await self._call(calls.ready(), self._retries.once)
        except ClientError:
            return False
        return True

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _call(self, call: Call[T], retries: Retries | None = None) -> T:
        steps = exchange(call.request, retries or self._retries, self._chance)
        outcome: Reply | Lost | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return call.answer(done.value)
            outcome = await (self._send(step) if isinstance(step, Send) else self._sleep(step.seconds))

    async def _send(self, send: Send) -> Reply | Lost:
        try:
            return wire.reply_of(await self._http.request(**wire.arguments(send)))
        except httpx.RequestError as error:
            return wire.lost(error)
