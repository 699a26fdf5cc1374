"""The page at `/` where something goes wrong: it says so in words, and keeps the picture."""

import asyncio
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from robustness.probe_report import ProbeReport
from runtime.errors import EmpirError, NoQuorum
from service.catalog import Catalog
from service.errors import DeadlineExceeded, QueueFull, Unavailable, answer_for
from service.probe_process import Job, ProbeProcess
from service.settings import Settings
from tests.browser import visit
from tests.live import Live, Start, live
from tests.service.page.hand import DIGITS, Window, payload, png, trouble, verdict
from tests.toy_bundle import ToyBundle
from tests.toy_catalog import YES, bundle_catalog, full, low, toy_catalog

OTHER = "toy-2"


def test_a_wrong_file_is_refused_and_the_drawing_kept(both: Live, window: Window) -> None:
    seen = window(both)
    seen.draw(DIGITS["7"])
    verdict(seen.page, "7")
    seen.page.set_input_files("#file", [payload("notes.png", "image/png", b"no picture")])
    trouble(seen.page, "notes.png: expected a PNG, JPEG, WebP, GIF or BMP.")
    verdict(seen.page, "7")
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
    seen.page.set_input_files("#file", [payload("drawn.svg", "image/svg+xml", svg)])  # the browser shows it
    trouble(seen.page, "image: expected PNG, JPEG, WEBP, GIF or BMP, got")
    verdict(seen.page, "7")
    expect(seen.page.get_by_role("button", name="Undo")).to_be_enabled()
    seen.sample("1")
    expect(seen.page.get_by_role("alert")).to_be_empty()


def test_a_file_too_large_is_not_sent(start: Start, window: Window) -> None:
    page = window(start(toy_catalog(low(YES), full(YES)), max_body_bytes=2000)).page
    page.set_input_files("#file", [payload("dot.png", "image/png", png(1, 1))])
    verdict(page, "yes")
    page.set_input_files("#file", [payload("big.png", "image/png", png(60, 60))])
    trouble(page, "big.png: expected at most 2,000 bytes, got ")
    expect(page.locator("#name")).to_contain_text("dot.png")


def test_a_server_that_is_gone_is_waited_for(bundles: Path, browser: Browser) -> None:
    settings = Settings(bundles=bundles, default="mnist-empir")
    with ExitStack() as stack:
        with live(settings, Catalog.load(settings)) as server:
            seen = stack.enter_context(visit(browser, server.port))
            seen.open()
            port = server.port
        seen.draw(DIGITS["4"])
        trouble(seen.page, "The server does not answer. Your picture is kept")
        stack.enter_context(live(settings, Catalog.load(settings), port))
        verdict(seen.page, "4")
        expect(seen.page.get_by_role("alert")).to_be_empty()


def test_a_slow_attack_shows_its_time_and_can_be_cancelled(
    both: Live, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forever(self: ProbeProcess, job: Job) -> ProbeReport:
        await asyncio.Event().wait()
        raise AssertionError

    seen = window(both)
    seen.sample("2")
    verdict(seen.page, "2")
    with monkeypatch.context() as patch:
        patch.setattr(ProbeProcess, "run", forever)
        seen.page.get_by_role("button", name="Attack", exact=True).click()
        expect(seen.page.locator("#elapsed")).to_have_text(re.compile(r"^\d+\.[1-9] s"))
        seen.page.get_by_role("button", name="Cancel").click()
    expect(seen.page.locator("#elapsed")).to_have_text("Cancelled.")
    expect(seen.page.get_by_role("button", name="Cancel")).to_be_hidden()
    verdict_again = seen.attack()
    assert verdict_again["outcome"] == "broken"


def test_a_bundle_that_is_removed_gives_way_to_the_default(toy: ToyBundle, start: Start, window: Window) -> None:
    catalog = bundle_catalog(toy.folder)
    other = catalog.get("toy").manifest.model_copy(update={"name": OTHER})
    catalog.put(type(catalog.get("toy"))(other, toy.folder, catalog.get("toy").ensemble))
    seen = window(start(catalog))
    seen.page.locator("#menu summary").click()
    seen.page.get_by_role("radio", name=re.compile(f"^{OTHER}")).check()
    catalog.remove(OTHER)
    seen.page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    trouble(seen.page, "This bundle is no longer served.")
    expect(seen.page.locator("#chosen")).to_have_text("toy")
    expect(seen.page.locator("#label")).not_to_be_empty()
    expect(seen.page.locator(".card")).to_have_count(1)
    expect(seen.page.locator("#name")).to_contain_text("one.png")


REFUSALS: list[tuple[Exception, str]] = [
    (QueueFull("64 are waiting"), "The server is busy"),
    (Unavailable("it drains"), "The server is starting, stopping"),
    (DeadlineExceeded("10 s are over"), "The server gave up"),
    (NoQuorum("a: yes, b: no"), "too few members have a vote"),
    (RuntimeError("not for the client"), "The server failed."),
]


def refusing(error: Exception) -> Callable[[Route], None]:
    """Answer as the server answers this error."""
    answer = answer_for(error, "0")

    def refuse(route: Route) -> None:
        route.fulfill(status=answer.status_code, body=bytes(answer.body), content_type="application/problem+json")

    return refuse


@pytest.mark.parametrize("path", ["predict", "robustness-probe"])
def test_a_refusal_is_put_in_words_and_can_be_tried_again(server: Live, window: Window, path: str) -> None:
    page = window(server).page
    page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(page.locator("#label")).not_to_be_empty()
    for error, words in REFUSALS:
        page.route(f"**/{path}?*", refusing(error), times=1)
        if path == "predict":
            other = "quorum" if page.get_by_role("radio", name="full").is_checked() else "full"
            page.get_by_text(other, exact=True).click()
        else:
            page.get_by_role("button", name="Attack", exact=True).click()
        trouble(page, words)
        if isinstance(error, EmpirError):
            trouble(page, str(error))
        expect(page.locator("#name")).to_contain_text("one.png")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("alert")).to_be_empty()
        expect(page.locator("#label")).not_to_be_empty()
