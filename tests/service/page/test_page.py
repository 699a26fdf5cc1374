"""The page at `/` in a real browser: pictures, verdicts, the curve, the menu."""

import base64
import io
import re
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Route, expect

from tests.live import Live, Start
from tests.programs import ROOT
from tests.service.page.hand import DIGITS, Window, payload, png, verdict
from tests.toy_catalog import NO, YES, full, low, toy_catalog


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


MIDDLE = """(pad) => pad.getContext("2d").getImageData(pad.width / 2, pad.height / 2, 1, 1).data[0]"""


def test_a_tap_draws_a_dot(both: Live, window: Window) -> None:
    page = window(both).page
    page.locator("#pad").click()
    assert page.locator("#pad").evaluate(MIDDLE) == 255
    expect(page.locator("#label")).not_to_be_empty()
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_blank_picture_is_a_hint_and_no_alarm(both: Live, window: Window) -> None:
    seen = window(both)
    blank = io.BytesIO()
    Image.new("L", (28, 28)).save(blank, "PNG")
    seen.page.set_input_files("#file", [payload("black.png", "image/png", blank.getvalue())])
    expect(seen.page.locator("#note")).to_have_text("This picture is blank: draw a digit, or take another picture.")
    expect(seen.page.locator("#status")).to_contain_text("This picture is blank")
    expect(seen.page.locator("#label")).to_be_empty()
    expect(seen.page.get_by_role("alert")).to_be_empty()
    attack = seen.page.get_by_role("button", name="Attack", exact=True)
    expect(attack).to_be_disabled()
    seen.draw(DIGITS["7"])
    verdict(seen.page, "7")
    expect(attack).to_be_enabled()


def test_each_members_vote_is_a_bar_with_its_precision_and_time(both: Live, window: Window) -> None:
    seen = window(both)
    members: list[dict[str, Any]] = []

    def timed(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for member, latency_ms in zip(body["members"], (0.124, 14.82, 1234.0), strict=True):
            member["latency_ms"] = latency_ms
        members[:] = body["members"]
        route.fulfill(response=answer, json=body)

    seen.page.route("**/predict?*", timed)
    seen.sample("5")
    verdict(seen.page, "5")
    rows = seen.page.locator("#votes tbody tr")
    expect(rows).to_have_count(len(members))
    for index, (member, took) in enumerate(zip(members, ("0.12 ms", "15 ms", "1.2 s"), strict=True)):
        expect(rows.nth(index)).to_contain_text(member["name"])
        expect(rows.nth(index).locator("td").first).to_have_text(member["label"])
        expect(rows.nth(index).locator("td").last).to_have_text(took)
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


def test_every_member_of_many_has_a_bar_that_is_seen(start: Start, window: Window) -> None:
    many = [low(YES, name) for name in "abdefg"]
    page = window(start(toy_catalog(*many, full(YES)))).page
    page.set_input_files("#file", [payload("dot.png", "image/png", png(1, 1))])
    verdict(page, "yes")
    colours = page.locator("#votes .bar i").evaluate_all(
        "(bars) => bars.map((bar) => getComputedStyle(bar).backgroundColor)"
    )
    assert len(colours) == 7 and len(set(colours)) == 5
    assert "rgba(0, 0, 0, 0)" not in colours


OVERHANG = """() => import("/page/chart.js").then(({ Chart }) => {
  const view = { curve: null, members: [], unit: true, largest: 16 / 255, eps: 8 / 255, trail: [], smallest: null };
  new Chart().show(view);
  const right = (element) => element.getBoundingClientRect().right, all = document.querySelectorAll("#chart text");
  return Math.max(...Array.from(all, right)) - right(document.getElementById("chart"));
})"""


def test_the_scale_ends_within_its_panel(server: Live, window: Window) -> None:
    assert window(server).page.evaluate(OVERHANG) <= 1


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
    way = {"members": "members run side by side", "requests": "members run one after another"}[timing.chosen]
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


def test_the_menu_closes_on_a_choice_and_a_reload_keeps_it(both: Live, window: Window) -> None:
    seen = window(both)
    menu, chosen = seen.page.locator("#menu"), seen.page.locator("#chosen")
    menu.locator("summary").click()
    for part in (menu.get_by_text("toy", exact=True), menu.get_by_role("radio", name=re.compile("^mnist-empir"))):
        part.click()
        expect(menu).not_to_have_attribute("open", "")
        menu.locator("summary").click()
    expect(chosen).to_have_text("mnist-empir")
    menu.get_by_role("radio", name=re.compile("^mnist-empir")).focus()
    seen.page.keyboard.press("ArrowDown")
    expect(chosen).to_have_text("toy")
    expect(menu).to_have_attribute("open", "")  # somebody at the keyboard may go on
    seen.page.reload()
    expect(chosen).to_have_text("toy")
    seen.page.goto(f"{seen.origin}/#gone")
    seen.page.reload()
    expect(chosen).to_have_text("mnist-empir")


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


LINES = """(label) => import("/page/verdict.js").then(({ big }) => {
  const shown = big(document.getElementById("label"), label), { height } = shown.getBoundingClientRect();
  return Math.round(height / parseFloat(getComputedStyle(shown).lineHeight));
})"""


@pytest.mark.parametrize("width", [360, 1080, 1280])
def test_no_word_of_a_label_is_broken(both: Live, window: Window, width: int) -> None:
    page = window(both, viewport={"width": width, "height": 800}).page
    for label in ("7", "dog", "truck", "automobile", "English springer", "supercalifragilistic"):
        assert page.evaluate(LINES, label) <= len(label.split()), label
        assert page.locator("#reading").evaluate("(reading) => reading.offsetHeight") == 160, label
