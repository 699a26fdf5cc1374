"""One call, from its first try to its answer, without any input or output: what to do next is yielded to a driver."""

import json
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from empir_client.errors import ClientError, ClientTimeout, ConnectionFailed, Problem
from empir_client.retries import Retries, retry_after_s, worth_retrying

MOST_DETAIL = 200


@dataclass(frozen=True)
class Request:
    """What is sent: a body of bytes, or none."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Reply:
    """What came back. `headers` are looked up in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Lost:
    """No reply: what the network said, and whether it was that the time was over."""

    reason: str
    timed_out: bool


@dataclass(frozen=True)
class Send:
    """To do: send this, and give back a Reply or Lost within the time."""

    request: Request
    timeout_s: float


@dataclass(frozen=True)
class Wait:
    """To do: wait."""

    seconds: float


Steps = Generator[Send | Wait, Reply | Lost | None, Reply]
"""Yields what to do, is sent what came of a Send (None after a Wait), and returns the reply with a 2xx status."""


@dataclass(frozen=True)
class Chance:
    """What is not the same each time: clocks in seconds, and a draw from [0, 1)."""

    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    draw: Callable[[], float] = random.random


def exchange(request: Request, retries: Retries, chance: Chance) -> Steps:
    """Send `request` until it is answered, as `retries` says. Raises Problem, ConnectionFailed or ClientTimeout."""
    end = chance.clock() + retries.deadline_s
    for failed in range(1, retries.attempts + 1):
        outcome = yield Send(request, max(end - chance.clock(), 0.001))
        if isinstance(outcome, Reply) and 200 <= outcome.status < 300:
            return outcome
        error = _error(request, outcome, retries, chance)
        if not worth_retrying(error) or failed == retries.attempts:
            raise error
        wait = retries.wait_s(failed, error.retry_after_s if isinstance(error, Problem) else None, chance.draw())
        if chance.clock() + wait >= end:
            raise error  # there would be no time left to hear the answer
        yield Wait(wait)
    raise AssertionError("the last try returns or raises")


def _error(request: Request, outcome: Reply | Lost | None, retries: Retries, chance: Chance) -> ClientError:
    where = f"{request.method} {request.path}"
    if isinstance(outcome, Reply):
        return problem_of(outcome, chance.now)
    assert outcome is not None
    if outcome.timed_out:
        return ClientTimeout(f"{where}: expected an answer within {retries.deadline_s:g} s, got none")
    return ConnectionFailed(f"{where}: {outcome.reason}")


def problem_of(reply: Reply, now: Callable[[], float]) -> Problem:
    """The problem in a reply; with the code `unknown` where something other than EMPIR Serve wrote it."""
    asked = retry_after_s(reply.headers.get("retry-after"), now)
    request_id = reply.headers.get("x-request-id")
    try:
        document: Any = json.loads(reply.body)
    except ValueError:
        document = None
    code = document.get("code") if isinstance(document, dict) else None
    if not isinstance(code, str):
        text = " ".join(reply.body.decode(errors="replace").split())[:MOST_DETAIL]
        return Problem(reply.status, "unknown", text or "an answer without a body", request_id, asked)
    kind = Problem.codes.get(code, Problem)
    return kind(reply.status, code, str(document.get("detail", "")), document.get("request_id", request_id), asked)
