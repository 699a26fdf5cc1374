"""A finding: what was looked at, what was found, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """`fail`: the server will not start, or not answer. `warn`: it will, but slower, or not as one may think."""

    level: Level
    topic: str
    found: str
    advice: str = ""


def ok(topic: str, found: str) -> Finding:
    return Finding("ok", topic, found)


def warn(topic: str, found: str, advice: str) -> Finding:
    return Finding("warn", topic, found, advice)


def fail(topic: str, found: str, advice: str) -> Finding:
    return Finding("fail", topic, found, advice)
