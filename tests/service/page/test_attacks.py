"""The page at `/` in a real browser: attacks, and what they found."""

import json
import re
from pathlib import Path

from playwright.sync_api import Route, expect

from robustness.probe_report import ProbeReport
from runtime.bundle import MANIFEST
from tests.live import Live, Start
from tests.service.page.hand import Window, payload, png, verdict
from tests.toy_catalog import bundle_catalog


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


def test_a_member_that_voted_otherwise_before_has_not_held(server: Live, window: Window) -> None:
    def otherwise(route: Route) -> None:
        found = route.fetch().json()
        clean = found["clean"]["label"]
        found["members"][0] |= {"flipped": False, "label_before": f"not {clean}", "label_after": f"not {clean}"}
        found["members"][1] |= {"flipped": False, "label_before": clean, "label_after": clean}
        route.fulfill(json=found)

    page = window(server).page
    page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(page.locator("#label")).not_to_be_empty()
    page.route("**/robustness-probe?*", otherwise)
    page.get_by_role("button", name="Attack", exact=True).click()
    fates = page.locator("#outcome .fate")
    expect(fates.nth(0)).to_have_text("dissented")
    expect(fates.nth(1)).to_have_text("held")


def test_an_attack_without_a_picture_asks_for_one(server: Live, window: Window) -> None:
    page = window(server).page
    page.get_by_role("button", name="Attack", exact=True).click(force=True)
    expect(page.locator("#elapsed")).to_have_text("First a picture.")
    expect(page.locator("#status")).to_have_text("First a picture.")
    page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(page.locator("#elapsed")).to_be_empty()


def test_what_is_not_broken_is_not_called_robust(server: Live, window: Window) -> None:
    seen = window(server)
    seen.page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(seen.page.locator("#label")).not_to_be_empty()
    seen.page.get_by_label("Eps", exact=True).fill("1/1000")
    assert seen.attack()["outcome"] == "not_broken_within_budget"
    expect(seen.page.locator("#outcome h2")).to_contain_text("Not broken within the budget")
    expect(seen.page.locator("#outcome h2")).to_contain_text("That is not robust")
    expect(seen.page.locator("#outcome .fate")).to_have_text(["dissented", "dissented", "held"])


def test_on_a_phone_the_outcome_begins_in_view(both: Live, window: Window) -> None:
    seen = window(both, viewport={"width": 375, "height": 640})
    seen.sample("7")
    verdict(seen.page, "7")
    seen.attack()
    expect(seen.page.locator("#outcome h2")).to_be_in_viewport(ratio=1)


def test_the_smallest_eps_is_searched_for(server: Live, window: Window) -> None:
    seen = window(server)
    seen.page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(seen.page.locator("#label")).not_to_be_empty()
    seen.page.get_by_role("button", name="Find smallest eps").click()
    expect(seen.page.locator("#outcome")).to_contain_text("Smallest eps found:")
    assert seen.page.locator("#chart circle.fell").count() >= 2
    assert seen.page.locator("#chart circle.held").count() >= 1


def test_the_search_goes_upwards_from_an_eps_at_which_the_vote_holds(both: Live, window: Window) -> None:
    seen = window(both)
    seen.sample("7")
    verdict(seen.page, "7")
    seen.page.get_by_label("Eps", exact=True).fill("0.02")
    seen.page.get_by_role("button", name="Find smallest eps").click()
    outcome = seen.page.locator("#outcome")
    expect(outcome.locator("h2")).to_contain_text("Broken within linf 0.")
    said = re.search(r"Smallest eps found: (0\.\d+)\. It held at eps (0\.\d+)\.", outcome.inner_text())
    assert said is not None
    smallest, held = float(said[1]), float(said[2])
    assert 0.02 < held < smallest < 1.05 * held  # ten attacks come this close


def test_a_search_that_never_breaks_says_up_to_where(server: Live, window: Window) -> None:
    asked: list[float] = []

    def holds(route: Route) -> None:
        found = route.fetch().json()
        asked.append(found["attack"]["eps"])
        nothing = dict.fromkeys(("adversarial", "perturbation", "smallest_eps"))
        route.fulfill(json={**found, **nothing, "outcome": "not_broken_within_budget"})

    page = window(server).page
    page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(page.locator("#label")).not_to_be_empty()
    page.route("**/robustness-probe?*", holds)
    page.get_by_role("button", name="Find smallest eps").click()
    expect(page.locator("#outcome")).to_contain_text("It held at eps 1.")
    assert asked == [0.3, 0.6, 1]  # as large as an eps can be


def test_a_long_search_ends_and_says_to_raise_eps(server: Live, window: Window) -> None:
    def slow(route: Route) -> None:
        found = route.fetch().json()
        nothing = dict.fromkeys(("adversarial", "perturbation", "smallest_eps"))
        route.fulfill(json={**found, **nothing, "outcome": "not_broken_within_budget", "time_ms": 10_000})

    page = window(server).page
    page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(page.locator("#label")).not_to_be_empty()
    page.route("**/robustness-probe?*", slow)
    page.get_by_label("Eps", exact=True).fill("0.01")
    page.get_by_role("button", name="Find smallest eps").click()
    expect(page.locator("#outcome")).to_contain_text("It held at eps 0.02; raise eps.")
    assert page.locator("#chart circle.held").count() == 2


def test_an_attack_brings_its_own_number_of_steps(server: Live, window: Window) -> None:
    page = window(server).page
    steps = page.get_by_label("Steps")
    expect(steps).to_have_value("40")
    for kind, shown in (("cw-l2", "200"), ("deepfool", "50"), ("fgsm", "1"), ("mim", "40")):
        page.locator("#kind").select_option(kind)
        expect(steps).to_have_value(shown)
    steps.fill("7")
    page.locator("#kind").select_option("apgd")  # takes as many as the one before
    expect(steps).to_have_value("7")
    page.locator("#kind").select_option("square")
    expect(page.get_by_label("Queries")).to_have_value("5000")


def test_an_attack_without_a_step_size_is_told_by_its_steps(server: Live, window: Window) -> None:
    seen = window(server)
    seen.page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(seen.page.locator("#label")).not_to_be_empty()
    for kind, effort in (("deepfool", "deepfool, up to 50 steps, "), ("square", "square, up to 5,000 queries, ")):
        seen.page.locator("#kind").select_option(kind)
        seen.attack()
        expect(seen.page.locator("#outcome details")).to_contain_text(effort)


def test_members_without_gradient_graphs_are_attacked_by_queries(start: Start, toy_copy: Path, window: Window) -> None:
    manifest = json.loads((toy_copy / MANIFEST).read_text())
    del manifest["members"][1]["gradient_file"], manifest["members"][1]["gradient_sha256"]
    (toy_copy / MANIFEST).write_text(json.dumps(manifest))
    seen = window(start(bundle_catalog(toy_copy)))
    expect(seen.page.locator("#kind option")).to_have_text(["square", "hopskipjump"])
    expect(seen.page.get_by_label("Queries")).to_have_value("5000")
    seen.page.set_input_files("#file", [payload("one.png", "image/png", png(8, 8))])
    expect(seen.page.locator("#label")).not_to_be_empty()
    seen.page.get_by_label("Eps", exact=True).fill("1/2")
    assert seen.attack()["attack"]["name"] == "square"
    seen.page.get_by_text("All parameters").click()
    expect(seen.page.locator("#outcome")).to_contain_text("square, up to 5,000 queries, seed 0")
