"""The load generator: one loop over many connections, open (requests are due) or closed (an answer sends the next)."""

import gc
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from urllib.parse import SplitResult

from loadtest.alarm import Alarm
from loadtest.connection import Address, Connection
from loadtest.pressure import Gauge, Pressure
from loadtest.recording import Notes, Recording

TIMEOUT_S = 30.0
OPEN_S = 2.0
BEAT_S = 0.01
"""An appointment of the loop with its clock, and the rest of a closed loop's connection that got no answer."""
LOOK_S = 1.0
"""How often requests under way are looked through for those that take too long, and who watches is told."""
FOREVER = float("inf")

Request = tuple[int, bytes]
"""Its kind (`recording.PREDICTION` or `PROBE`), and its bytes, head and body."""


@dataclass(frozen=True)
class Glance:
    """The last second of a run, for who watches it."""

    at: float
    in_flight: int
    waiting: int
    last: Recording


Watch = Callable[[Glance], None]


@dataclass(frozen=True)
class Plan:
    """What to send, and when."""

    requests: Iterator[Request]
    seconds: float
    connections: int
    due: Iterator[float] | None = None
    """When each request is due, in seconds from the start; None is a closed loop."""
    timeout: float = TIMEOUT_S
    """A request under way for longer ends as `timeout`; one that was not even sent for so long as `unsent`."""
    partial: bool = False
    """Whether Ctrl-C ends the run early with what there is; otherwise it is raised."""


def address_of(url: SplitResult) -> Address:
    """Where to connect to. Raises OSError if the host has no address."""
    found = socket.getaddrinfo(url.hostname, url.port or 80, type=socket.SOCK_STREAM)
    return found[0][0], found[0][4]


def drive(address: Address, plan: Plan, watch: Watch | None = None) -> tuple[Recording, Pressure]:
    """Carry the plan out; blocks until every request has ended."""
    with _undisturbed():
        return _Loop(address, plan, watch).run()


class _Loop:
    """One run. Times inside are those of the clock; those noted count from the start."""

    def __init__(self, address: Address, plan: Plan, watch: Watch | None) -> None:
        self._plan, self._watch = plan, watch
        self._selector, self._alarm, self._notes, self._gauge = DefaultSelector(), Alarm(), Notes(), Gauge()
        if self._alarm.fd is not None:
            self._selector.register(self._alarm.fd, EVENT_READ, None)
        self._all = [Connection(address, self._selector, self._ended) for _ in range(plan.connections)]
        self._free = deque(self._all)
        self._waiting: deque[float] = deque()
        """When the requests were due for which no connection is free."""
        self._due = plan.due or iter(())
        self._start = self._next = self._end = self._beat = self._look = self._armed = 0.0
        self._looked = 0

    def run(self) -> tuple[Recording, Pressure]:
        self._open()
        self._gauge = Gauge()
        self._start = self._beat = self._look = time.perf_counter()
        self._end = self._start + self._plan.seconds
        self._advance()
        try:
            self._send_due(time.perf_counter())
            while self._under_way():
                self._turn()
        except KeyboardInterrupt:
            if not self._plan.partial:
                raise
        finally:
            pressure = self._gauge.read()
            self._close()
        return self._notes.since(0), pressure

    def _close(self) -> None:
        for connection in self._all:
            connection.close()
        self._selector.close()
        self._alarm.close()

    def _open(self) -> None:
        """Connect before the clock starts; a connection that is refused is tried again by its first request."""
        for connection in self._all:
            connection.connect()
        until = time.perf_counter() + OPEN_S
        while any(connection.opening for connection in self._all) and time.perf_counter() < until:
            for key, events in self._selector.select(0.05):
                if key.data is not None:
                    key.data.ready(events)

    def _under_way(self) -> bool:
        if len(self._free) < len(self._all) or self._waiting:
            return True
        return self._next < FOREVER if self._plan.due is not None else time.perf_counter() < self._end

    def _turn(self) -> None:
        """Send what is due, sleep until something is, or an answer comes, and take the answers in."""
        now = time.perf_counter()
        if now >= self._beat:
            self._keep_appointment(now)
        if now >= self._next:
            self._send_due(now)
        for key, events in self._selector.select(self._until(min(self._next, self._beat), now)):
            if key.data is not None:
                key.data.ready(events)
                if (now := time.perf_counter()) >= self._next:
                    self._send_due(now)

    def _until(self, wake: float, now: float) -> float | None:
        """The selector's timeout."""
        if wake <= now:
            return 0
        if wake == self._armed and self._alarm.fd is not None:
            return None
        self._armed = wake
        return self._alarm.set(wake - now)

    def _keep_appointment(self, now: float) -> None:
        self._gauge.late.append(now - self._beat)
        self._beat = now + BEAT_S
        if self._plan.due is None:
            while self._free and now < self._end:
                self._send(self._free.popleft(), now)
        if now - self._look >= LOOK_S:
            self._look = now
            self._end_the_slow(now)
            if self._watch is not None:
                self._watch(self._glance(now))

    def _end_the_slow(self, now: float) -> None:
        for connection in self._all:
            if connection.busy and now - connection.sent > self._plan.timeout:
                connection.give_up("timeout")
        while self._waiting and now - self._waiting[0] > self._plan.timeout:
            due = self._waiting.popleft()
            self._notes.add(due - self._start, now - due, now - due, "unsent", 0)

    def _glance(self, now: float) -> Glance:
        last = self._notes.since(self._looked)
        self._looked += len(last)
        return Glance(now - self._start, len(self._all) - len(self._free), len(self._waiting), last)

    def _advance(self) -> None:
        self._next = self._start + next(self._due, FOREVER)

    def _send_due(self, now: float) -> None:
        while self._next <= now:
            if self._free:
                self._send(self._free.popleft(), self._next)
            else:
                self._waiting.append(self._next)
            self._advance()

    def _send(self, connection: Connection, due: float) -> None:
        connection.kind, request = next(self._plan.requests)
        connection.due, connection.sent = due, time.perf_counter()
        connection.send(request)

    def _ended(self, connection: Connection, outcome: str) -> None:
        now, due = time.perf_counter(), connection.due
        times = (due - self._start, now - due, connection.sent - due)
        self._notes.add(*times, outcome, connection.kind, connection.resent)
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        elif self._plan.due is None and now < self._end and outcome.isdigit():
            self._send(connection, now)
        else:
            self._free.append(connection)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection meanwhile: a run makes no cycles, and a collection takes milliseconds."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
