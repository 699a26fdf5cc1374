"""A request's time: what counts as decoding and as waiting, and that all of it counts against the deadline."""

import base64
import re
import threading
import time

import numpy as np
import pytest
from PIL import Image

from runtime.images import encode_png
from runtime.manifest import Input
from runtime.member import Images
from service.catalog import Served
from service.predict import parts_of, stages_of
from service.scheduler import Place, Placed
from tests.live import HANG_S, Live, Start
from tests.service.oip.bodies import INFER, ask, document, fp32
from tests.toy_catalog import DOT, YES, full, low, toy_catalog

LARGE = encode_png(np.zeros((1, 200, 200), np.float32))
IMAGE = np.zeros((1, 1, 1, 1), np.float32)


def pictures(*data: bytes) -> dict[str, object]:
    """A request of the protocol for encoded pictures, as JSON."""
    encoded = [base64.b64encode(each).decode() for each in data]
    return document(IMAGE, shape=[len(data)], datatype="BYTES", data=encoded)


def toy() -> Served:
    return toy_catalog(low(YES), full(YES)).get(None)


def test_the_wait_for_a_core_to_decode_on_is_no_decoding() -> None:
    served = toy()
    placed = Placed(served.predict(IMAGE, "full"), 0, 1, waited=0.5)
    stages = stages_of(placed, decoding=3.0, waited=2.0)
    assert (stages["decode"], stages["queue"]) == (1.0, 2.5)
    spans = [(span.name, span.start, span.end) for span in parts_of(served.manifest, placed, 10.0, 2.0, 13.0)]
    assert spans[:3] == [("queue", 10.0, 12.0), ("decode", 12.0, 13.0), ("queue", 13.0, 13.5)]
    without = parts_of(served.manifest, placed, 10.0, 0.0, 13.0)
    assert [span.name for span in without[:3]] == ["decode", "queue", "member a"]


def test_the_wait_is_told_in_answers_and_metrics(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start(toy_catalog(low(YES), full(YES)))

    async def image(*_: object) -> tuple[Images, float]:
        return IMAGE, 100.0

    monkeypatch.setattr(server.state.decoder, "image", image)
    assert server.predict(LARGE).json()["latency_ms"]["queue"] >= 100_000
    timing = ask(server, pictures(DOT)).headers["server-timing"]
    assert (queue := re.search(r"queue;dur=([\d.]+)", timing)) is not None and float(queue[1]) >= 100_000
    two = ask(server, pictures(DOT, DOT)).headers["server-timing"]
    assert (queue := re.search(r"queue;dur=([\d.]+)", two)) is not None and float(queue[1]) >= 200_000
    assert server.metric("empir_stage_duration_seconds_sum", stage="queue") >= 400


@pytest.mark.parametrize("route", ["/predict", INFER])
def test_a_picture_that_is_not_decoded_in_time_is_504(
    start: Start, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    opened = threading.Event()

    def held(picture: Image.Image, spec: Input) -> Images:
        assert opened.wait(HANG_S)
        return IMAGE

    monkeypatch.setattr("service.decoder.fit_image", held)
    member = full(YES)
    server = start(toy_catalog(low(YES), member), deadline_ms=100)
    response = server.predict(LARGE) if route == "/predict" else ask(server, pictures(LARGE))
    assert (response.status_code, response.json()["code"]) == (504, "deadline")
    opened.set()
    assert member.asked == []


def test_the_deadline_begins_when_the_place_is_taken(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start(toy_catalog(low(YES), full(YES)))
    enter = Place.__enter__

    def long_ago(self: Place) -> float:
        enter(self)
        return time.perf_counter() - HANG_S

    def statuses(server: Live) -> list[int]:
        body, headers = fp32(IMAGE)
        answers = [server.predict(DOT), ask(server, pictures(DOT)), ask(server, document(IMAGE))]
        return [answer.status_code for answer in (*answers, server.http.post(INFER, content=body, headers=headers))]

    assert statuses(server) == [200] * 4
    monkeypatch.setattr(Place, "__enter__", long_ago)
    assert statuses(server) == [504] * 4
