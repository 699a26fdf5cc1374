"""Structured logs on standard error: one line a request."""

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import orjson
import structlog

from service.settings import Settings


def make_logger(settings: Settings, stream: TextIO = sys.stderr) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes JSON lines, or coloured ones to a terminal."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())
    shared: list[structlog.typing.Processor] = [structlog.processors.add_log_level]
    if as_json:
        shared += [_stamp, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dumps)]
    else:
        shared += [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(pad_event_to=8),
        ]
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),  # one write for a line, where PrintLogger makes two and looks for its arguments
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    return logger.bind()


def adopt(logger: structlog.typing.FilteringBoundLogger) -> None:
    """Let what libraries log, uvicorn above all, pass through `logger`, not bare to standard error."""
    logging.getLogger().addHandler(_Adopted(logger))
    logging.getLogger("python_multipart").setLevel(
        logging.ERROR
    )  # below: forms that are refused, which is said already


class _Adopted(logging.Handler):
    """Hands records over to a structured logger."""

    def __init__(self, logger: structlog.typing.FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(record.levelno, record.getMessage(), source=record.name, exc_info=record.exc_info)


def _stamp(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """orjson writes a time in half the time that TimeStamper takes."""
    event["timestamp"] = datetime.now(UTC)
    return event


def _dumps(event: object, default: object = None) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z).decode()
