"""OpenTelemetry: a span for each request, and within it decoding, waiting, every member and the vote; sent by OTLP."""

import time
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from runtime.errors import EmpirError
from service.settings import Settings
from service.trace import Attributes, Span, TraceContext

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OpenSpan


class Tracer:
    """Writes requests as spans. Everything of OpenTelemetry is imported here, and only where tracing is configured."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("empir")
        self._epoch = time.time() - time.perf_counter()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The tracer that the settings ask for; None where they ask for none.

        Raises EmpirError if its packages are not installed.
        """
        if settings.otlp_endpoint is None:
            return None
        require_tracing(settings)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": "empir-serve"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{settings.otlp_endpoint}/v1/traces")))
        return cls(provider)

    def begin(self, parent: TraceContext | None, start: float) -> "OpenSpan":
        """The span of a request that has just come, as a child of its caller's."""
        from opentelemetry import trace

        context = None
        if parent is not None:
            caller = trace.SpanContext(
                int(parent.trace_id, 16), int(parent.span_id, 16), True, trace.TraceFlags(int(parent.flags, 16))
            )
            context = trace.set_span_in_context(trace.NonRecordingSpan(caller))
        return self._tracer.start_span(
            "request", context=context, kind=trace.SpanKind.SERVER, start_time=self._nanoseconds(start)
        )

    def end(self, span: "OpenSpan", name: str, end: float, attributes: Attributes, parts: list[Span]) -> None:
        """End a request's span, with what it turned out to be and its parts."""
        from opentelemetry import trace

        span.update_name(name)
        span.set_attributes(dict(attributes))
        status = attributes.get("http.response.status_code", 0)
        if isinstance(status, int) and status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        inside = trace.set_span_in_context(span)
        for part in parts:
            child = self._tracer.start_span(
                part.name,
                context=inside,
                start_time=self._nanoseconds(part.start),
                attributes=dict(part.attributes),
            )
            child.end(self._nanoseconds(part.end))
        span.end(self._nanoseconds(end))

    def close(self) -> None:
        """Send what is left."""
        with suppress(Exception):  # a collector that is gone must not keep the server from ending
            self._provider.shutdown()

    def _nanoseconds(self, moment: float) -> int:
        return round(1e9 * (self._epoch + moment))


class RequestTrace:
    """One request's place in a trace, its caller's if there is one: what answer and log name, and its parts."""

    def __init__(self, tracer: Tracer | None, given: str, start: float, log: dict[str, Any]) -> None:
        """`given`: the request's traceparent, or nothing; `log`: gets the trace's id."""
        self._tracer = tracer
        self._span: OpenSpan | None = None
        self.traceparent = b""
        """What the answer names; empty without a trace."""
        self.parts: list[Span] | None = None
        """Where handlers put what took time; None where nobody traces."""
        parent = TraceContext.parse(given) if given else None
        if tracer is not None:
            self._span, self.parts = tracer.begin(parent, start), []
            self.traceparent = traceparent(self._span)
            log["trace_id"] = f"{self._span.get_span_context().trace_id:032x}"
        elif parent is not None:
            self.traceparent, log["trace_id"] = str(parent).encode(), parent.trace_id

    def end(self, name: str, end: float, attributes: Attributes) -> None:
        """Write the request's span, if somebody traces."""
        if self._tracer is not None and self._span is not None:
            self._tracer.end(self._span, name, end, attributes, self.parts or [])


def traceparent(span: "OpenSpan") -> bytes:
    """The header that names a span."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}".encode()


def require_tracing(settings: Settings) -> None:
    """Raise EmpirError if traces are asked for and their packages are not installed."""
    if settings.otlp_endpoint is None:
        return
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        extra = "expected the extra `tracing`, which is not installed: pip install empir-serve[tracing]"
        raise EmpirError(f"EMPIR_OTLP_ENDPOINT: {extra}")
