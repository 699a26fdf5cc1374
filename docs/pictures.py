"""Draw the pictures of the README again, from real runs: `python docs/pictures.py` (needs Debian's chromium)."""

import base64
import io
import subprocess
import tempfile
from pathlib import Path

from PIL import Image
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
SCALE, GAP = 8, 16


def main() -> None:
    bundle = load_bundle(DOCS.parent / "bundles" / "mnist-empir", gradients=True)
    image = decode_image((DOCS.parent / "samples" / SAMPLE).read_bytes(), bundle.manifest.input)
    report = probe(Victim.of_bundle(bundle), bundle.manifest, image, AttackParameters(eps=EPS))
    _terminal(report, bundle.manifest.input.channels)
    _side_by_side(report)


def _terminal(report: ProbeReport, channels: int) -> None:
    console = Console(record=True, force_terminal=True, color_system="truecolor", width=96, file=io.StringIO())
    console.print(Text.assemble(("$ ", "green"), f"empir probe samples/{SAMPLE} --eps {EPS}\n"))
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


def _side_by_side(report: ProbeReport) -> None:
    names = ("original", "perturbation", "adversarial")
    pictures = [Image.open(io.BytesIO(base64.b64decode(getattr(report.images, name)))) for name in names]
    width, height = pictures[0].width * SCALE, pictures[0].height * SCALE
    sheet = Image.new("L", (3 * width + 2 * GAP, height), 255)
    for index, picture in enumerate(pictures):
        sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), (index * (width + GAP), 0))
    sheet.save(DOCS / "attack.png", optimize=True)


if __name__ == "__main__":
    main()
