"""Logs: JSON for machines, lines for people, and nothing that passes by."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from service.logs import adopt, make_logger
from service.settings import Settings


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_json_has_one_object_a_line() -> None:
    stream = io.StringIO()
    log = make_logger(Settings(log_format="json"), stream)
    log.info("request", request_id="a\nb", ms=1.5, bundle="toy")
    log.debug("too much")
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert document.pop("timestamp").endswith("Z")
    assert document == {"event": "request", "level": "info", "request_id": "a\nb", "ms": 1.5, "bundle": "toy"}


def test_an_exception_is_in_its_line() -> None:
    stream = io.StringIO()
    log = make_logger(Settings(log_format="json"), stream)
    log.error("failed", exc_info=ValueError("this"))
    assert "ValueError: this" in json.loads(stream.getvalue())["exception"]


@pytest.mark.parametrize(
    ("stream", "as_json"), [(io.StringIO(), True), (Terminal(), False)], ids=["a file", "a terminal"]
)
def test_auto_goes_by_the_stream(stream: io.StringIO, as_json: bool) -> None:
    make_logger(Settings(), stream).info("request", status=200)
    assert stream.getvalue().startswith("{") == as_json
    assert "200" in stream.getvalue()


@pytest.fixture
def _library_logging() -> Iterator[None]:
    """Undo what `adopt` does to the process."""
    root, multipart = logging.getLogger(), logging.getLogger("python_multipart")
    handlers, level = list(root.handlers), multipart.level
    yield
    root.handlers[:] = handlers
    multipart.setLevel(level)


@pytest.mark.usefixtures("_library_logging")
def test_what_libraries_log_becomes_json_too() -> None:
    stream = io.StringIO()
    adopt(make_logger(Settings(log_format="json"), stream))
    logging.getLogger("uvicorn.error").warning("Invalid %s", "request")
    logging.getLogger("uvicorn.error").info("too much")
    logging.getLogger("python_multipart").warning("said already")
    try:
        raise KeyError("this")
    except KeyError as error:
        logging.getLogger("asyncio").error("Task failed", exc_info=error)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["level"], first["source"]) == ("Invalid request", "warning", "uvicorn.error")
    assert (second["event"], second["level"]) == ("Task failed", "error")
    assert "KeyError: 'this'" in second["exception"]
