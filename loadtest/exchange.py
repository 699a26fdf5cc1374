"""One request and its answer, outside of a run: metadata, metrics, what a refusal says."""

import http.client
import socket
from urllib.parse import urlsplit

TIMEOUT_S = 30.0


def knock(base: str) -> None:
    """Connect to `base` (http://HOST:PORT), and leave. Raises OSError if nobody listens there."""
    parts = urlsplit(base)
    socket.create_connection((parts.hostname or "", parts.port or 80), TIMEOUT_S).close()


def ask(base: str, path: str) -> tuple[int, bytes]:
    """Status and body of GET `path` at `base` (http://HOST:PORT). Raises OSError if there is no answer."""
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{base}{path}: expected an HTTP answer, got {error!r}") from error
    finally:
        connection.close()


def exchange(base: str, request: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a prepared request. Raises OSError if there is none."""
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.connect()
        connection.sock.sendall(request)
        answer = http.client.HTTPResponse(connection.sock, method="POST")
        answer.begin()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{base}: expected an HTTP answer, got {error!r}") from error
    finally:
        connection.close()


def resident_bytes(base: str) -> int | None:
    """The server's memory as its /metrics say (`process_resident_memory_bytes`); None where they do not."""
    try:
        status, body = ask(base, "/metrics")
    except OSError:
        return None
    for line in body.decode(errors="replace").splitlines() if status == 200 else ():
        if line.startswith("process_resident_memory_bytes"):
            return int(float(line.rsplit(maxsplit=1)[-1]))
    return None
