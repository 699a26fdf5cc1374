"""Draw the pictures of the documentation again, from real runs: `python -m docs.pictures` (needs Debian's chromium)."""

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text

from robustness.cli import show
from robustness.parameters import AttackParameters
from robustness.probe import probe
from robustness.probe_report import ProbeReport
from robustness.victim import Victim
from runtime.bundle import load_bundle
from runtime.images import decode_image

DOCS = Path(__file__).parent
SAMPLE, EPS = "7.png", 0.15
BUNDLE = "mnist-empir"
"""What the pictures attack: it falls."""
DRAWN = [
    (0.3, 0.35),
    (0.33, 0.24),
    (0.43, 0.18),
    (0.56, 0.18),
    (0.66, 0.26),
    (0.66, 0.4),
    (0.55, 0.56),
    (0.3, 0.8),
    (0.72, 0.8),
]
"""A 2; the pad's corners are (0, 0) and (1, 1)."""


def main() -> None:
    bundle = load_bundle(DOCS.parent / "bundles" / BUNDLE, gradients=True)
    image = decode_image((DOCS.parent / "samples" / SAMPLE).read_bytes(), bundle.manifest.input)
    report = probe(Victim.of_bundle(bundle), bundle.manifest, image, AttackParameters(eps=EPS))
    _terminal(report, bundle.manifest.input.channels)
    command = [sys.executable, "-m", "empir", "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=DOCS.parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        _pages(address)
        server.terminate()


def _pages(address: str) -> None:
    """The page with a drawn digit, and with a sample that was attacked."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 560}, reduced_motion="reduce")
        page.goto(address)
        page.locator("body[data-ready]").wait_for()
        _draw(page)
        page.get_by_role("status").get_by_text("Verdict 2").wait_for(state="attached")
        page.screenshot(path=DOCS / "page.png", full_page=True)
        page.locator("#menu summary").click()
        page.get_by_role("radio", name=re.compile(f"^{BUNDLE}")).check()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Sample: 7").click()
        page.get_by_label("Eps", exact=True).fill(str(EPS))
        page.get_by_role("button", name="Attack", exact=True).click()
        page.get_by_role("heading", name="Broken").wait_for()
        page.screenshot(path=DOCS / "page-attack.png", full_page=True)
        browser.close()
    for name in ("page.png", "page-attack.png"):
        Image.open(DOCS / name).convert("P", palette=Image.Palette.ADAPTIVE).save(DOCS / name, optimize=True)


def _draw(page: Page) -> None:
    box = page.locator("#pad").bounding_box()
    assert box is not None
    for index, (x, y) in enumerate(DRAWN):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if index == 0:
            page.mouse.down()
    page.mouse.up()


def _terminal(report: ProbeReport, channels: int) -> None:
    console = Console(record=True, force_terminal=True, color_system="truecolor", width=96, file=io.StringIO())
    console.print(Text.assemble(("$ ", "green"), f"empir probe samples/{SAMPLE} --bundle {BUNDLE} --eps {EPS}\n"))
    console.print(show(report, channels, console))
    with tempfile.TemporaryDirectory() as scratch:
        svg = Path(scratch) / "probe.svg"
        svg.write_text(console.export_svg(title="empir probe", font_aspect_ratio=0.61))
        subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                f"--user-data-dir={scratch}/profile",
                "--window-size=1190,770",
                f"--screenshot={scratch}/probe.png",
                svg.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        shot = Image.open(Path(scratch) / "probe.png").convert("RGB").crop((0, 30, 1190, 740))
        shot.save(DOCS / "probe.png", optimize=True)


if __name__ == "__main__":
    main()
