"""A real browser without a network: Debian's chromium, driven by Playwright."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright

from tests.live import HANG_S
from tests.programs import program

PATIENCE_MS = 1000 * HANG_S
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
Strokes = list[list[tuple[float, float]]]
"""Lines through points; the pad's corners are (0, 0) and (1, 1)."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, until the block ends."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page in a window of its own, and what it did that it should not."""

    page: Page
    origin: str
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Load the page, and wait until it is ready."""
        self.page.goto(f"{self.origin}/")
        self.page.locator("body[data-ready]").wait_for()

    def draw(self, strokes: Strokes) -> None:
        """Draw with the mouse."""
        box = self.page.locator("#pad").bounding_box()
        assert box is not None
        mouse = self.page.mouse
        for first, *others in strokes:
            mouse.move(box["x"] + first[0] * box["width"], box["y"] + first[1] * box["height"])
            mouse.down()
            for x, y in others:
                mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            mouse.up()

    def sample(self, name: str) -> None:
        """Press a sample's button."""
        self.page.get_by_role("button", name=f"Sample: {name}", exact=True).click()

    def attack(self) -> dict[str, Any]:
        """Press `Attack`; what the server answers."""
        with self.page.expect_response("**/robustness-probe?*") as answer:
            self.page.get_by_role("button", name="Attack", exact=True).click()
        found: dict[str, Any] = answer.value.json()
        return found

    def inaccessible(self) -> list[str]:
        """What axe-core finds wrong with the page as it is."""
        self.page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
        violations = self.page.evaluate("axe.run().then((found) => found.violations)")
        return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in violations]


@contextmanager
def visit(browser: Browser, port: int, **options: Any) -> Iterator[Visit]:
    """A window on the server at `port`; nothing reaches another, and nothing may try. `options` are Playwright's."""
    origin = f"http://127.0.0.1:{port}"
    context = browser.new_context(**{"reduced_motion": "reduce", **options})
    context.set_default_timeout(PATIENCE_MS)
    visit = Visit(context.new_page(), origin)

    def guard(route: Route) -> None:
        if urlsplit(route.request.url).netloc == urlsplit(origin).netloc:
            route.continue_()
        else:
            visit.outside.append(route.request.url)
            route.abort()

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            visit.errors.append(message.text)

    context.route("**/*", guard)
    visit.page.on("console", note)
    visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
    try:
        yield visit
    finally:
        context.close()
    assert visit.outside == []
    assert visit.errors == []
