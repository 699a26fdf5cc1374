"""Links in every document resolve: to files, and to headings in them."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+?) *$", re.MULTILINE)


def documents() -> list[Path]:
    """Every Markdown file that git knows, or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):  # an archive, not a checkout
        listed = [str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))]
    return sorted({Path(path) for path in listed if (ROOT / path).exists()})


def anchors(text: str) -> set[str]:
    """The headings' anchors, as GitHub makes them.

    >>> sorted(anchors("# A b\\n## `c`, d-e?\\n## A b"))
    ['a-b', 'a-b-1', 'c-d-e']
    """
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        number = sum(1 for each in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", each))
        found.add(f"{slug}-{number}" if slug in found else slug)
    return found


def broken(document: Path) -> list[str]:
    """The links of a document that lead nowhere."""
    text = FENCE.sub("", (ROOT / document).read_text(encoding="utf-8"))
    return [link for link in LINK.findall(text) if not resolves(ROOT / document, link)]


def resolves(document: Path, link: str) -> bool:
    """Whether a link in a document leads to a file of the repository, and to a heading in it where it names one."""
    path, _, anchor = link.partition("#")
    target = (document.parent / path if path else document).resolve()
    if not target.is_relative_to(ROOT.resolve()) or not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target.read_text(encoding="utf-8")))


def test_there_are_documents() -> None:
    assert {Path("README.md"), Path("docs/README.md"), Path("clients/python/README.md")} <= set(documents())


@pytest.mark.parametrize("document", documents(), ids=str)
def test_links_resolve(document: Path) -> None:
    assert broken(document) == []


def test_every_page_is_reached_from_the_index() -> None:
    """From docs/README.md, link by link."""
    reached, open_pages = set(), [Path("docs/README.md")]
    while open_pages:
        document = open_pages.pop()
        if document in reached:
            continue
        reached.add(document)
        for link in LINK.findall(FENCE.sub("", (ROOT / document).read_text(encoding="utf-8"))):
            path = (ROOT / document.parent / link.partition("#")[0]).resolve()
            if path.suffix == ".md" and path.is_relative_to(ROOT / "docs"):
                open_pages.append(path.relative_to(ROOT))
    assert {path for path in documents() if path.parts[0] == "docs"} - reached == set()
