"""The page at `/` in a real browser: draw, predict, attack, and every way in which that can fail."""

import asyncio
import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from robustness.probe_report import ProbeReport
from runtime.errors import EmpirError, NoQuorum
from service.catalog import Catalog
from service.errors import DeadlineExceeded, QueueFull, Unavailable, answer_for
from service.probe_process import Job, ProbeProcess
from service.settings import Settings
from tests.browser import Strokes, Visit, chromium, visit
from tests.live import Live, Start, live
from tests.programs import ROOT
from tests.toy_bundle import ToyBundle
from tests.toy_catalog import NO, YES, bundle_catalog, full, low, toy_catalog

DIGITS: dict[str, Strokes] = {
    "1": [[(0.5, 0.2), (0.48, 0.8)]],
    "2": [[(0.3, 0.35), (0.35, 0.22), (0.5, 0.18), (0.65, 0.25), (0.66, 0.4), (0.3, 0.8), (0.72, 0.8)]],
    "3": [
        [(0.3, 0.22), (0.5, 0.17), (0.66, 0.25), (0.64, 0.4), (0.48, 0.47)],
        [(0.48, 0.47), (0.68, 0.55), (0.68, 0.72), (0.5, 0.82), (0.3, 0.76)],
    ],
    "4": [[(0.35, 0.2), (0.3, 0.52), (0.7, 0.52)], [(0.64, 0.2), (0.6, 0.82)]],
    "7": [[(0.27, 0.22), (0.73, 0.22), (0.45, 0.82)]],
}
OTHER = "toy-2"


@pytest.fixture(scope="module")  # Playwright's event loop runs in this thread: after it other tests run theirs
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def bundles(toy: ToyBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle, which reads digits and has a report, and the toy."""
    root = tmp_path_factory.mktemp("served")
    (root / "mnist-empir").symlink_to(ROOT / "bundles" / "mnist-empir")
    (root / "toy").symlink_to(toy.folder)
    return root


@pytest.fixture(scope="session")
def both(bundles: Path) -> Iterator[Live]:
    settings = Settings(bundles=bundles)
    with live(settings, Catalog.load(settings)) as server:
        yield server


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """`window(server, **options)`: the page of a server, ready. What it did wrong fails the test at its end."""
    with ExitStack() as stack:

        def show(server: Live, **options: Any) -> Visit:
            opened: AbstractContextManager[Visit] = visit(browser, server.port, **options)
            seen = stack.enter_context(opened)
            seen.open()
            return seen

        yield show


Window = Callable[..., Visit]


def verdict(page: Page, label: str) -> None:
    expect(page.locator("#label")).to_have_text(label)
    expect(page.locator("#status")).to_contain_text(f"Verdict {label}")


def trouble(page: Page, words: str) -> None:
    expect(page.get_by_role("alert")).to_contain_text(words)


def png(width: int, height: int, mode: str = "L") -> bytes:
    levels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def payload(name: str, kind: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": data}


# What it shows


def test_a_newcomers_digit_is_read_right_wherever_it_is_drawn(both: Live, window: Window) -> None:
    seen = window(both)
    for digit, strokes in DIGITS.items():
        seen.draw(strokes)
        verdict(seen.page, digit)
        seen.page.get_by_role("button", name="Clear").click()
        expect(seen.page.locator("#label")).to_be_empty()
    for shrink, shift in ((0.3, 0.02), (0.35, 0.6)):  # small, in a corner
        seen.draw([[(shift + shrink * x, shift + shrink * y) for x, y in stroke] for stroke in DIGITS["2"]])
        verdict(seen.page, "2")
        seen.page.get_by_role("button", name="Clear").click()
        expect(seen.page.locator("#label")).to_be_empty()


def test_undo_takes_back_a_stroke(both: Live, window: Window) -> None:
    seen = window(both)
    seen.draw([*DIGITS["7"], [(0.1, 0.9), (0.9, 0.9)]])
    seen.page.get_by_role("button", name="Undo").click()
    verdict(seen.page, "7")
    seen.page.get_by_role("button", name="Undo").click()
    expect(seen.page.locator("#label")).to_be_empty()


def test_a_finger_draws_too(both: Live, window: Window) -> None:
    seen = window(both, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    box = seen.page.locator("#pad").bounding_box()
    assert box is not None
    session = seen.page.context.new_cdp_session(seen.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (0.5, 0.2))
    touch("touchMove", (0.49, 0.5))
    touch("touchMove", (0.48, 0.8))
    touch("touchEnd")
    verdict(seen.page, "1")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_each_members_vote_is_a_bar_with_its_precision_and_time(both: Live, window: Window) -> None:
    seen = window(both)
    with seen.page.expect_response("**/predict?*") as answer:
        seen.sample("5")
    verdict(seen.page, "5")
    rows = seen.page.locator("#votes tbody tr")
    members = answer.value.json()["members"]
    expect(rows).to_have_count(len(members))
    for index, member in enumerate(members):
        expect(rows.nth(index)).to_contain_text(member["name"])
        expect(rows.nth(index).locator("td").first).to_have_text(member["label"])
        expect(rows.nth(index)).to_contain_text(f"{member['latency_ms']:.2f} ms")
        width = rows.nth(index).locator(".bar i").evaluate("(bar) => parseFloat(bar.style.width)")
        assert width == pytest.approx(100 * member["confidence"], abs=0.01)


def test_quorum_names_the_member_that_it_skipped(both: Live, window: Window) -> None:
    seen = window(both)
    seen.sample("1")
    verdict(seen.page, "1")
    seen.page.get_by_text("quorum", exact=True).click()
    expect(seen.page.locator("#note")).to_have_text(
        "Quorum: fp32 could not have changed the verdict and was not asked."
    )
    expect(seen.page.locator("#votes tbody tr").first).to_contain_text("not asked")
    expect(seen.page.locator("#readouts")).to_contain_text("2 of 2")


def test_dissent_failure_and_a_tie_are_named(start: Start, window: Window) -> None:
    seen = window(start(toy_catalog(low(YES), low(NO, "b"), full(YES, failure="error"), full(YES, "d"))))
    seen.page.set_input_files("#file", [payload("dot.png", "image/png", png(1, 1))])
    verdict(seen.page, "yes")
    note = seen.page.locator("#note")
    expect(note).to_contain_text("Degraded: c has no vote.")
    expect(note).to_contain_text("No class has a majority: d decides.")
    expect(seen.page.locator("tr.dissents")).to_contain_text("b")


def test_an_attack_is_shown_as_the_server_found_it(both: Live, window: Window) -> None:
    seen = window(both)
    seen.sample("7")
    verdict(seen.page, "7")
    seen.page.get_by_label("Eps", exact=True).fill("0.2")
    found = ProbeReport.model_validate(seen.attack())
    assert (found.outcome, found.attack.eps) == ("broken", 0.2)
    assert found.adversarial is not None and found.smallest_eps is not None
    outcome = seen.page.get_by_role("region", name=re.compile("^Broken within linf 0.2"))
    expect(outcome.get_by_role("heading")).to_have_text(
        f"Broken within linf 0.2: the vote turns from 7 to {found.adversarial.label}."
    )
    expect(outcome).to_contain_text(f"It falls from eps {found.smallest_eps:.3g} on")
    fates = outcome.locator("tbody tr")
    expect(fates.locator(".fate")).to_have_text(["fell" if each.flipped else "held" for each in found.members])
    shown = outcome.locator("figure img").evaluate_all("(all) => all.map((each) => [each.naturalWidth, each.src])")
    pictures = (found.images.original, found.images.perturbation, found.images.adversarial)
    assert shown == [[28, f"data:image/png;base64,{picture}"] for picture in pictures]
    expect(seen.page.locator("#status")).to_contain_text("Fallen: ")
    expect(seen.page.locator("#chart circle.fell")).to_have_count(1)


def test_what_is_not_broken_is_not_called_robust(server: Live, window: Window) -> None:
    seen = window(server)
    seen.page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(seen.page.locator("#label")).not_to_be_empty()
    seen.page.get_by_label("Eps", exact=True).fill("1/1000")
    assert seen.attack()["outcome"] == "not_broken_within_budget"
    expect(seen.page.locator("#outcome h2")).to_contain_text("Not broken within the budget")
    expect(seen.page.locator("#outcome h2")).to_contain_text("That is not robust")
    expect(seen.page.locator("#outcome .fate")).to_have_text(["held"] * 3)


def test_the_smallest_eps_is_searched_for(server: Live, window: Window) -> None:
    seen = window(server)
    seen.page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(seen.page.locator("#label")).not_to_be_empty()
    seen.page.get_by_role("button", name="Find smallest eps").click()
    expect(seen.page.locator("#outcome")).to_contain_text("Smallest eps found:")
    assert seen.page.locator("#chart circle.fell").count() >= 2
    assert seen.page.locator("#chart circle.held").count() >= 1


def test_the_curve_follows_the_norm_and_is_read_at_eps(both: Live, window: Window) -> None:
    page = window(both).page
    report = both.http.get("/bundles/mnist-empir/report.json").json()
    shares = [share["share"] for share in report["curve"]["series"]["vote"]]
    eps = report["curve"]["eps"]
    expect(page.locator("#chart svg").first).to_have_attribute("aria-label", re.compile("^Accuracy of the vote"))
    page.get_by_role("slider").fill("0.15")
    expect(page.locator("#at-eps")).to_contain_text(f"the vote is right on {shares[2]:.1%} at eps 0.15, of")
    page.get_by_role("slider").fill("0.2")
    expect(page.locator("#at-eps")).to_contain_text(
        f"{shares[2]:.1%} at eps {eps[2]} and {shares[3]:.1%} at eps {eps[3]}"
    )
    page.get_by_label("Norm").select_option("l2")
    expect(page.locator("#at-eps")).to_have_text("The report's curve is for linf.")


def test_the_menu_says_what_each_bundle_is_and_withstands(both: Live, window: Window) -> None:
    seen = window(both)
    report = both.http.get("/bundles/mnist-empir/report.json").json()
    seen.page.locator("#menu summary").click()
    cards = seen.page.locator(".card")
    expect(cards.first).to_contain_text(f"right on {report['robust']['share']:.1%} of 1,000 images under attack")
    expect(cards.nth(1)).to_contain_text("No report: what it withstands has not been measured.")
    timing = both.state.catalog.get("toy").ensemble.timing
    assert timing is not None
    way = {"members": "members side by side", "requests": "members in turn"}[timing.chosen]
    expect(cards.nth(1)).to_contain_text(f"on onnxruntime · {way}")
    seen.page.get_by_role("radio", name=re.compile("^toy")).check()
    expect(seen.page.locator("#plate")).to_contain_text("No report")
    expect(seen.page.get_by_role("link", name="Report")).to_be_hidden()
    seen.page.keyboard.press("Escape")
    expect(cards.first).to_be_hidden()


def test_everything_can_be_done_by_keyboard(both: Live, window: Window) -> None:
    page = window(both).page
    keys = page.keyboard
    page.get_by_role("button", name="Sample: 3").focus()
    keys.press("Enter")
    verdict(page, "3")
    page.get_by_role("radio", name="full").focus()
    keys.press("ArrowRight")
    expect(page.locator("#note")).to_contain_text("Quorum")
    page.get_by_role("slider").focus()
    before = page.get_by_label("Eps", exact=True).input_value()
    keys.press("ArrowLeft")
    expect(page.get_by_label("Eps", exact=True)).not_to_have_value(before)
    page.get_by_role("button", name="Attack", exact=True).focus()
    keys.press("Space")
    expect(page.locator("#outcome h2")).to_contain_text("Broken")
    expect(page.get_by_role("button", name="Attack", exact=True)).to_be_focused()


HAND_OVER = """([kind, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const handed = new DataTransfer();
  handed.items.add(new File([bytes], "handed.png", { type: "image/png" }));
  const options = { bubbles: true, cancelable: true, clipboardData: handed, dataTransfer: handed };
  document.body.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, options) : new DragEvent(kind, options));
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(both: Live, window: Window, kind: str) -> None:
    page = window(both).page
    page.evaluate(HAND_OVER, [kind, base64.b64encode((ROOT / "samples" / "8.png").read_bytes()).decode()])
    verdict(page, "8")
    expect(page.locator("#name")).to_have_text("handed.png · 28 × 28")


def test_a_large_photo_fits_a_phone(both: Live, window: Window) -> None:
    page = window(both, viewport={"width": 360, "height": 740}).page
    page.set_input_files("#file", [payload("photo.png", "image/png", png(1600, 900, "RGB"))])
    expect(page.locator("#name")).to_have_text("photo.png · 1600 × 900")
    expect(page.locator("#label")).not_to_be_empty()
    assert page.locator("#shown").evaluate("(image) => getComputedStyle(image).objectFit") == "contain"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


# What can go wrong


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
    settings = Settings(bundles=bundles)
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


# What holds throughout


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_axe_finds_nothing(both: Live, window: Window, scheme: str, width: int) -> None:
    seen = window(both, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert seen.inaccessible() == []
    seen.page.set_input_files("#file", [payload("notes.png", "image/png", b"no picture")])
    trouble(seen.page, "notes.png")
    seen.page.locator("#menu summary").click()
    assert seen.inaccessible() == []
    seen.page.keyboard.press("Escape")
    seen.page.get_by_text("quorum", exact=True).click()
    seen.sample("7")
    verdict(seen.page, "7")
    seen.attack()
    expect(seen.page.locator("#outcome h2")).to_contain_text("Broken")
    seen.page.get_by_text("All parameters").click()
    assert seen.inaccessible() == []


def test_attack_upon_attack_leaves_nothing_behind(server: Live, window: Window) -> None:
    seen = window(server)
    seen.page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(seen.page.locator("#label")).not_to_be_empty()
    session = seen.page.context.new_cdp_session(seen.page)
    session.send("Performance.enable")

    def held() -> tuple[float, ...]:
        session.send("HeapProfiler.collectGarbage")
        found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return tuple(found[name] for name in ("JSEventListeners", "Documents"))

    seen.attack()
    expect(seen.page.locator("#chart circle")).to_have_count(1)
    before = held()
    for turn in range(2, 11):
        seen.attack()
        expect(seen.page.locator("#chart circle")).to_have_count(turn)
    assert held() == before


def test_the_documentation_needs_nothing_from_outside(server: Live, browser: Browser) -> None:
    with visit(browser, server.port) as seen:
        seen.page.goto(f"{seen.origin}/docs")
        expect(seen.page.locator('[data-path="/predict"]')).to_be_visible()
