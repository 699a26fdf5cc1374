"""Send requests when they are due, over several connections, and note what became of each."""

import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 30


@dataclass(frozen=True)
class Sent:
    """One request: when it was due (seconds from the start), how long after that its answer came, and which."""

    due: float
    seconds: float
    outcome: str
    """The HTTP status, or what happened instead: `refused`, `reset`, `timeout`, `no answer`."""
    late: float
    """How long after it was due it was sent: waiting for a connection counts into its latency."""


class Plan:
    """Requests that are due, handed to whichever connection is free."""

    def __init__(self, due: Iterator[float], bodies: list[bytes]) -> None:
        self._due: Iterator[tuple[int, float]] = enumerate(due)
        self._bodies = bodies
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Hand out no more."""
        with self._lock:
            self._due = enumerate(())

    def take(self) -> tuple[float, bytes] | None:
        """The next request's time and body; None when there is none left."""
        with self._lock:
            index, due = next(self._due, (0, -1.0))
        return None if due < 0 else (due, self._bodies[index % len(self._bodies)])


def send(url: str, plan: Plan, connections: int, content_type: str) -> list[Sent]:
    """Send the plan to `url`; blocks until every answer is there. In the order they were due."""
    sent: list[Sent] = []
    start = time.perf_counter()
    threads = [
        threading.Thread(target=_connection, args=(url, plan, content_type, start, sent)) for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        plan.stop()  # and report what there is
        for thread in threads:
            thread.join()
    return sorted(sent, key=lambda each: each.due)


def _connection(url: str, plan: Plan, content_type: str, start: float, sent: list[Sent]) -> None:
    parts = urlsplit(url)
    target = (parts.path or "/predict") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
    while (request := plan.take()) is not None:
        due, body = request
        time.sleep(max(0.0, start + due - time.perf_counter()))
        begun = time.perf_counter() - start
        outcome = _post(connection, target, body, content_type)
        sent.append(Sent(due, time.perf_counter() - start - due, outcome, begun - due))
    connection.close()


def _post(connection: http.client.HTTPConnection, target: str, body: bytes, content_type: str) -> str:
    """One request; once more on a new connection where the server had closed an idle one."""
    fresh = connection.sock is None
    try:
        connection.request("POST", target, body, {"Content-Type": content_type})
        response = connection.getresponse()
        response.read()
        return str(response.status)
    except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
        connection.close()
        return "reset" if fresh else _post(connection, target, body, content_type)
    except ConnectionRefusedError:
        outcome = "refused"
    except TimeoutError:
        outcome = "timeout"
    except (OSError, http.client.HTTPException):
        outcome = "no answer"
    connection.close()
    return outcome
