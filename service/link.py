"""A link between a worker and its parent: calls both ways over one Unix socket that nobody else can open."""

import asyncio
import itertools
import struct
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, Literal, Self

from runtime.errors import EmpirError
from service.errors import Unavailable

Kind = Literal["ask", "answer", "error", "cancel"]
Handle = Callable[..., Awaitable[Any]]
"""`handle(what, *arguments)`: answers one question of the other side."""

_LENGTH = struct.Struct("!I")


class Link:
    """Questions and answers, several under way at a time; sent as `multiprocessing` sends between processes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handle) -> None:
        self._reader, self._writer, self._handle = reader, writer, handle
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: dict[int, asyncio.Task[None]] = {}
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def connect(cls, path: Path, handle: Handle) -> Self:
        """A link to whoever listens at `path`."""
        return cls(*await asyncio.open_unix_connection(str(path)), handle)

    async def ask(self, what: str, *arguments: Any) -> Any:
        """What the other side answers.

        Raises the EmpirError that the other side raised, RuntimeError for any other fault of it, Unavailable when it
        is gone. Cancelled, it tells the other side, which cancels its work.
        """
        if self._closed:
            raise Unavailable("the server is going down")
        number = next(self._numbers)
        self._asked[number] = answer = asyncio.get_running_loop().create_future()
        self._send(number, "ask", (what, arguments))
        try:
            return await answer
        except asyncio.CancelledError:
            self._send(number, "cancel", None)
            raise
        finally:
            self._asked.pop(number, None)

    @property
    def is_open(self) -> bool:
        """Whether the other side is there, as far as is known."""
        return not self._closed

    async def closed(self) -> None:
        """Return once the other side is gone, or the link is closed."""
        await asyncio.wait({self._task})

    def close(self) -> None:
        """End it; what is still asked fails."""
        self._writer.close()
        self._end()

    async def _read(self) -> None:
        try:
            while True:
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                self._take(*ForkingPickler.loads(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._end()

    def _take(self, number: int, kind: Kind, content: Any) -> None:
        if kind == "ask":
            task = asyncio.get_running_loop().create_task(self._answer(number, *content))
            self._answering[number] = task
            task.add_done_callback(lambda _: self._answering.pop(number, None))
        elif kind == "cancel":
            if (task_of := self._answering.get(number)) is not None:
                task_of.cancel()
        elif (asked := self._asked.get(number)) is not None and not asked.done():
            if kind == "answer":
                asked.set_result(content)
            else:
                asked.set_exception(content)

    async def _answer(self, number: int, what: str, arguments: tuple[Any, ...]) -> None:
        try:
            answer = await self._handle(what, *arguments)
        except EmpirError as error:
            self._send(number, "error", error)
        except Exception:
            self._send(number, "error", RuntimeError(f"{what} failed:\n{traceback.format_exc()}"))
        else:
            self._send(number, "answer", answer)

    def _send(self, number: int, kind: Kind, content: Any) -> None:
        if not self._writer.is_closing():
            message = bytes(ForkingPickler.dumps((number, kind, content)))
            self._writer.write(_LENGTH.pack(len(message)) + message)

    def _end(self) -> None:
        self._closed = True
        self._writer.close()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(Unavailable("the server is going down"))
        for task in self._answering.values():
            task.cancel()
