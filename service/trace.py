"""W3C trace context: which trace a request belongs to, from its `traceparent` header, and what its spans were."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})((?:-.*)?)", re.DOTALL
)

Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time within a request: start and end on `time.perf_counter`'s clock."""

    name: str
    start: float
    end: float
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The caller's trace and span (https://www.w3.org/TR/trace-context/)."""

    trace_id: str
    span_id: str
    flags: str

    @classmethod
    def parse(cls, header: str) -> Self | None:
        """Of a `traceparent` header; None for one that says nothing valid, which the standard has us ignore."""
        found = _TRACEPARENT.fullmatch(header)
        if found is None:
            return None
        version, trace_id, span_id, flags, more = found.groups()
        return None if more and version == "00" else cls(trace_id, span_id, flags)  # later versions may say more

    def __str__(self) -> str:
        """As a header of the version that this is, 00, of whose flags one has a meaning."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.flags, 16) & 1:02x}"
