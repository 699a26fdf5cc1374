"""What holds of the page in all its states: nothing inaccessible, nothing left behind, nothing from outside."""

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import visit
from tests.live import Live
from tests.service.page.hand import Window, payload, png, trouble, verdict


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


ATTACK_UNTIL = """async (last) => {
  for (window.attacks ??= 0; window.attacks < last; window.attacks++) {
    document.getElementById("go").click();
    while (document.getElementById("attack").ariaBusy === "true") await new Promise(requestAnimationFrame);
  }
}"""
MOST_MARKS = 60
"""Attacks that the chart keeps; the page grows by a mark each until then."""
MOST_GROWTH = 30_000
"""Bytes of JavaScript's heap, of which a page that kept each answer would take more in 39 attacks."""


def test_a_hundred_attacks_without_a_reload_leave_nothing_behind(server: Live, window: Window) -> None:
    page = window(server).page
    page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(page.locator("#label")).not_to_be_empty()
    attacks: list[str] = []
    page.on("request", lambda request: attacks.append(request.url) if "robustness-probe" in request.url else None)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def held() -> dict[str, float]:
        session.send("HeapProfiler.collectGarbage")
        return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}

    def attack_until(last: int) -> dict[str, float]:
        page.evaluate(ATTACK_UNTIL, last)
        return held()

    attack_until(MOST_MARKS)
    before, after = attack_until(MOST_MARKS + 1), attack_until(100)
    for name in ("Documents", "JSEventListeners", "Nodes"):
        assert after[name] == before[name], name
    assert len(attacks) == 100
    assert after["JSHeapUsedSize"] - before["JSHeapUsedSize"] < MOST_GROWTH


def test_the_documentation_needs_nothing_from_outside(server: Live, browser: Browser) -> None:
    with visit(browser, server.port) as seen:
        seen.page.goto(f"{seen.origin}/docs")
        expect(seen.page.locator('[data-path="/predict"]')).to_be_visible()
