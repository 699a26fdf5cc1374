"""The page of a report: well-formed, whole in one file, safe with any label, every section where it has something."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from robustness.detection.detection_report import Way
from robustness.reporting.report import Check, Curve, Report, Sizes, Transfer
from robustness.reporting.report_cli import main
from robustness.reporting.report_html import BadReport, page, read_report, write_page
from robustness.reporting.share import Share
from runtime.manifest import LayerTime
from tests.linear_victim import LINEAR_MANIFEST
from tests.toy_report import DOT, toy_report

Tag = ElementTree.Element
DOCTYPE = "<!doctype html>\n"
SECTIONS = {
    *("eps", "sizes", "members", "attacks", "paper", "transfer", "classes", "gallery", "detection", "overhead"),
    *("checks", "origin"),
}
FAILED = Check(name="more steps change little", passed=False, measured={}, sentence="9 fell.")


def parsed(report: Report) -> Tag:
    """The page, read as XML: every element closed, every attribute quoted, every text escaped."""
    text = page(report)
    assert text.startswith(DOCTYPE)
    return ElementTree.fromstring(text.removeprefix(DOCTYPE))


def text_of(element: Tag | None) -> str:
    assert element is not None
    return " ".join("".join(element.itertext()).split())


@pytest.fixture(scope="module")
def shown() -> Tag:
    return parsed(toy_report(LINEAR_MANIFEST))


def section(shown: Tag, ident: str) -> Tag:
    (found,) = [each for each in shown.iter("section") if each.get("id") == ident]
    return found


def test_every_section_is_there_once_and_linked(shown: Tag) -> None:
    assert {each.get("id") for each in shown.iter("section")} == SECTIONS
    assert {each.attrib["href"] for each in shown.iter("a")} == {f"#{ident}" for ident in SECTIONS}
    idents = [each.attrib["id"] for each in shown.iter() if "id" in each.attrib]
    assert len(idents) == len(set(idents))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"paper": None}, "paper"),
        ({"detection": None}, "detection"),
        ({"overhead": None}, "overhead"),
        ({"gallery": []}, "gallery"),
        ({"curve": Curve(n=0, attack={}, eps=[0], series={})}, "eps"),
        ({"sizes": Sizes(n=0, quantiles={}, edges=[0, 1], counts=[0])}, "sizes"),
        ({"transfer": Transfer(names=["vote"], fooled=[[None]])}, "transfer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_section_without_content_is_left_out(changes: dict[str, Any], missing: str) -> None:
    shown = parsed(toy_report(LINEAR_MANIFEST, **changes))
    assert {each.get("id") for each in shown.iter("section")} == SECTIONS - {missing}
    assert f"#{missing}" not in {each.get("href") for each in shown.iter("a")}


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(shown: Tag) -> None:
    for each in shown.iter():
        assert each.tag not in ("script", "link", "iframe", "object", "embed", "form", "base")
        for name, value in each.attrib.items():
            assert not name.startswith("on") and name != "style"
            if name in ("src", "href"):
                assert value.startswith(("data:image/png;base64,", "#"))
    style = shown.findtext("head/style") or ""
    assert style and not re.search(r"url\(|@import|</", style)


def test_the_policy_allows_this_style_sheet_and_no_script(shown: Tag) -> None:
    (policy,) = [each for each in shown.iter("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.attrib["content"].split(";"))
    style = shown.findtext("head/style") or ""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_whatever_a_report_says_is_text() -> None:
    nasty = "<script>alert('&')</script>\"><img src=x onerror=alert(1)>"
    manifest = LINEAR_MANIFEST.model_copy(update={"labels": (nasty, "dog", "eel"), "version": nasty})
    report = toy_report(manifest, summary=[nasty], suite=nasty)
    harmless, attacked = parsed(toy_report(LINEAR_MANIFEST, summary=["x"])), parsed(report)
    assert [each.tag for each in attacked.iter()] == [each.tag for each in harmless.iter()]
    assert nasty in text_of(section(attacked, "gallery")) and nasty in text_of(section(attacked, "classes"))
    (before, _, _) = section(attacked, "gallery").iter("img")
    assert nasty in before.attrib["alt"]


def test_the_sentence_at_the_top_has_all_that_a_worst_case_needs(shown: Tag) -> None:
    said = text_of(shown.find(".//header"))
    assert "Worst case: 3 of 8 test images" in said and "37.5%" in said
    for part in ("L∞ 0.25", "suite adaptive", "95% interval 13.7 to 69.4%", "images wrong before any attack count"):
        assert part in said


def test_a_report_that_is_not_trustworthy_says_so_first() -> None:
    passed, failed = (
        toy_report(LINEAR_MANIFEST),
        toy_report(LINEAR_MANIFEST, trustworthy=False, failed_checks=[FAILED.name], checks=[FAILED]),
    )
    assert [each for each in parsed(passed).iter() if each.get("role") == "alert"] == []
    body = parsed(failed).find("body")
    assert body is not None and (body[0].get("role"), body[1].tag) == ("alert", "main")
    assert "not trustworthy" in text_of(body[0]) and f"{FAILED.name}: 9 fell." in text_of(body[0])


def test_the_papers_table_says_what_it_is_and_has_the_adaptive_figure_beside_it(shown: Tag) -> None:
    table = section(shown, "paper")
    assert "CW and BIM are transfer attacks." in text_of(table)
    rows = [[text_of(cell) for cell in row] for row in table.iter("tr")]
    assert rows[0][1:] == ["adaptive, here", "clean", "CW", "BIM", "mean"]
    assert rows[1] == ["fp32 alonethe paper", "–", "74.54", "13.38", "11.97", "12.68"]
    assert [row[1].split(".")[0] for row in rows[2:]] == ["25", "37"]  # the member's own worst case, then the vote's


def test_every_attack_shows_every_parameter(shown: Tag) -> None:
    said = text_of(section(shown, "attacks"))
    for purpose in ("worst case", "paper", "curve", "check"):
        assert f"{purpose} attack" in said and f"note of the {purpose}" in said
    assert said.count("step_size0.0123") == 4


def test_an_attack_that_had_no_image_left_to_try_is_not_said_to_have_found_none() -> None:
    whole = toy_report(LINEAR_MANIFEST)
    idle = {"name": "idle", "attacked": 0, "found": 0, "first": 0, "seconds": 0.0, "queries": 0, "gradient_calls": 0}
    attacks = [whole.attacks[0], whole.attacks[0].model_copy(update=idle)]
    table = section(parsed(whole.model_copy(update={"attacks": attacks})), "attacks")
    rows = [[text_of(cell) for cell in row.findall("td")][2:] for row in table.iter("tr") if row.findall("td")]
    assert rows == [["8", "4", "4", "1.5", "1,234", "567"], ["none left", *["–"] * 5]]


def test_what_ran_is_told_with_the_version_of_the_suite(shown: Tag) -> None:
    assert "adaptive, version 1" in text_of(section(shown, "origin"))  # of reports that name none
    assert "adaptive, version 2" in text_of(section(parsed(toy_report(LINEAR_MANIFEST, suite_version=2)), "origin"))


def test_images_that_were_left_out_are_counted_and_named(shown: Tag) -> None:
    whole = toy_report(LINEAR_MANIFEST)
    unreadable = {"cat/1.png": "hello is no image", "dog/4.png": "Is a directory"}
    images = whole.images.model_copy(update={"unreadable": unreadable})
    text = text_of(section(parsed(whole.model_copy(update={"images": images})), "origin"))
    assert "Left out because unreadable: 2" in text and "dog/4.pngIs a directory" in text
    assert "unreadable" not in text_of(section(shown, "origin"))


def test_a_member_that_the_suite_did_not_attack_has_no_figure_of_its_own() -> None:
    """The curve attacks a part of the images only: the share of all that it left would look like robustness."""
    whole = toy_report(LINEAR_MANIFEST)
    first, second, *_ = (member.name for member in LINEAR_MANIFEST.members)
    attack = whole.attacks[0]
    attacks = [
        attack.model_copy(update={"on": first, "purpose": "paper"}),
        attack.model_copy(update={"on": second, "purpose": "curve"}),
    ]
    table = section(parsed(whole.model_copy(update={"attacks": attacks})), "members")
    rows = [row for row in table.iter("tr") if len(row.findall("td")) > 3]
    own = {text_of(row.find("th")): text_of(row.findall("td")[2]) for row in rows}
    assert own[first].startswith("37.5%") and own[second] == "–"


def test_the_transfer_matrix_has_a_row_for_what_was_attacked(shown: Tag) -> None:
    whole = toy_report(LINEAR_MANIFEST)
    names, shares = whole.transfer.names, whole.transfer.fooled[0]
    nothing = [None] * len(names)
    data = Transfer(names=names, fooled=[nothing, shares, *[nothing] * (len(names) - 2)])
    matrix = section(parsed(whole.model_copy(update={"transfer": data})), "transfer")
    heads = [text_of(each) for each in matrix.iter("th") if each.get("scope") == "row"]
    assert heads == [names[1]]
    assert [text_of(each) for each in section(shown, "transfer").iter("th") if each.get("scope") == "row"] == names
    empty = Transfer(names=names, fooled=[nothing] * len(names))
    assert "transfer" not in {each.get("id") for each in parsed(whole.model_copy(update={"transfer": empty})).iter()}


def test_the_detector_is_shown_with_intervals_and_with_what_the_attacker_did(shown: Tag) -> None:
    older = text_of(section(shown, "detection"))
    assert "0.9880." in older and "stops where the vote falls" in older and "that was not measured" in older
    data = toy_report(LINEAR_MANIFEST).detection
    assert data is not None
    ways = [
        Way(loss="x", keeps=keeps, succeeded=4, auroc=area, interval=(0.1, 0.95), detected=Share.of(3, 4))
        for keeps, area in (("first", 0.9), ("last", 0.7))
    ]
    rows = [data.attackers[0].model_copy(update={"auroc": 0.7, "ways": ways})]
    more = {"attackers": rows, "known_first": 5, "threshold_images": 4000}
    said = text_of(section(parsed(toy_report(LINEAR_MANIFEST, detection=data.model_copy(update=more))), "detection"))
    assert "chosen on 4,000 clean validation images" in said and "the first 5 were known to fall" in said
    assert "stops where" not in said and "xlast0.7000.100 to 0.950" in said and "xfirst0.9000.100 to 0.950" in said


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"searched": True}, "Of 4 images that fell: 50% of them at 0.1 or less. "),
        ({"searched": True}, "For each of them eps was bisected, with an attack on the vote at every step"),
        ({"among": 6}, "Of the first 6 images, attacked anew at every eps of the curve, 4 fell"),
        ({"among": 6}, "the other images were not attacked at smaller eps"),
    ],
)
def test_the_page_says_how_sizes_were_found(sizes: dict[str, Any], says: str) -> None:
    data = toy_report(LINEAR_MANIFEST).sizes.model_copy(update=sizes)
    shown = parsed(toy_report(LINEAR_MANIFEST, sizes=data))
    assert says in text_of(section(shown, "sizes"))
    assert ("after a search" in text_of(section(shown, "gallery"))) == data.searched


def test_overhead_says_which_images_were_timed(shown: Tag) -> None:
    data = toy_report(LINEAR_MANIFEST).overhead
    assert data is not None and "Under attack" not in text_of(section(shown, "overhead"))
    timed = data.model_copy(update={"attack": "the last iterates"})
    assert "Under attack: the last iterates." in text_of(
        section(parsed(toy_report(LINEAR_MANIFEST, overhead=timed)), "overhead")
    )
    turned = data.model_copy(update={"cpu": [data.cpu[0].model_copy(update={"images": "attacked"})]})
    said = text_of(section(parsed(toy_report(LINEAR_MANIFEST, overhead=turned)), "overhead"))
    assert "turned by an attack" in said and "only images whose verdict fell" in said


def test_overhead_says_what_the_layers_say(shown: Tag) -> None:
    said = text_of(section(shown, "overhead"))
    assert "77.0% more bytes" in said and "stay fp32" in said and "12.5% fewer" in said and "0.84 ×" in said


def test_overhead_says_which_int8_model_is_meant_or_that_there_is_none(shown: Tag) -> None:
    none = text_of(section(shown, "overhead"))
    assert "No int8 member, and none was made of the full-precision one to compare with." in none
    assert "written otherwise" not in none
    data = toy_report(LINEAR_MANIFEST).overhead
    assert data is not None
    row = data.cpu[0].model_copy(update={"what": "int8 alone", "stored_bytes": 700_000, "bit_operations": 64_000})
    alone = row.model_copy(update={"what": "fp32 alone", "stored_bytes": 2_800_000, "bit_operations": 1_024_000})
    layer = LayerTime(member="low-a", layer="linear 9 to 9", exported_us=10, others_us={"weights in 8 bits": 20})
    told = {"int8": "the member low-a", "cpu": [alone, row], "layers": [layer], "layers_hardware": "a machine"}
    said = text_of(section(parsed(toy_report(LINEAR_MANIFEST, overhead=data.model_copy(update=told))), "overhead"))
    assert "One int8 model alone: the member low-a." in said
    assert "700.0 kB (0.25 ×)64,000 (0.06 ×)" in said and "below 1.25 ×" in said
    assert "linear 9 to 9weights in 8 bits10.020.00.50 ×" in said and "whole member, a machine, one thread" in said


def test_tables_have_headers_and_pictures_have_words(shown: Tag) -> None:
    for row in shown.iter("tr"):
        assert [cell.get("scope") for cell in row.iter("th")].count(None) == 0
    for image in shown.iter("img"):
        assert image.attrib["alt"] and image.attrib["src"].endswith(DOT)
    for svg in shown.iter("svg"):
        assert svg.get("aria-hidden") == "true" or (svg.findtext("title") and svg.findtext("desc"))
    for scroll in [each for each in shown.iter("div") if each.get("class") == "scroll"]:
        assert scroll.get("tabindex") == "0" and scroll.get("aria-label")


def test_the_page_is_written_beside_the_report(tmp_path: Path) -> None:
    report = toy_report(LINEAR_MANIFEST)
    (tmp_path / "report.json").write_text(report.model_dump_json())
    result = CliRunner().invoke(main, ["report", str(tmp_path / "report.json")])
    assert (result.exit_code, result.stdout) == (0, f"written to {tmp_path / 'report.html'}\n")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page(report)
    assert read_report(tmp_path / "report.json") == report


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read: No such file"),
        ("{", "expected a report of `empir evaluate`; the whole: expected JSON ("),
        ({"eps": "wide"}, "eps: expected a number"),
        ({"schema_version": 2}, "schema_version: expected 1"),
        ({"surprise": 1}, "surprise: expected nothing of this name"),
    ],
    ids=["no file", "no JSON", "another type", "another version", "an unknown field"],
)
def test_what_is_no_report_is_refused_by_name(tmp_path: Path, text: str | dict[str, Any] | None, says: str) -> None:
    path = tmp_path / "report.json"
    if isinstance(text, dict):
        path.write_text(json.dumps({**toy_report(LINEAR_MANIFEST).model_dump(mode="json"), **text}))
    elif text is not None:
        path.write_text(text)
    with pytest.raises(BadReport, match=re.escape(f"{path}: ")) as refused:
        write_page(path)
    assert says in str(refused.value)
    assert not path.with_suffix(".html").exists()
