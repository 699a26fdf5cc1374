"""`/` and its files, as a client of HTTP sees them."""

from base64 import b64decode
from pathlib import Path

import pytest

from robustness.parameters import ATTACKS
from robustness.reporting.report import REPORT
from runtime.bundle import MANIFEST
from service.home import INDEX, MEDIA_TYPES, POLICY, assets
from tests.live import Live, Start, problem_of
from tests.programs import ROOT
from tests.toy_bundle import ToyBundle
from tests.toy_catalog import bundle_catalog
from tests.toy_report import toy_report

LARGEST, LARGEST_PACKED = 60_000, 30_000
"""Bytes of the page in all: as it is, and as it travels."""


def test_the_page_is_small() -> None:
    assert sum(len(asset.body) for asset in assets().values()) <= LARGEST
    assert sum(min(len(asset.body), len(asset.packed)) for asset in assets().values()) <= LARGEST_PACKED


def test_the_page_may_load_from_here_alone(server: Live) -> None:
    response = server.http.get("/")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.content == assets()[INDEX].body
    assert response.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", sorted(assets()))
def test_a_file_comes_with_its_type_and_is_asked_about_each_time(server: Live, name: str) -> None:
    response = server.http.get(f"/page/{name}")
    assert response.content == assets()[name].body
    assert response.headers["content-type"] == MEDIA_TYPES[name.rpartition(".")[2]]
    assert response.headers["cache-control"] == "no-cache"
    again = server.http.get(f"/page/{name}", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]
    other = server.http.get(f"/page/{name}", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


def test_without_gzip_it_comes_as_it_is_under_another_etag(server: Live) -> None:
    plain = server.http.get("/page/main.js", headers={"Accept-Encoding": "identity"})
    packed = server.http.get("/page/main.js", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.content == packed.content
    assert plain.headers["etag"] != packed.headers["etag"]
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"


def test_head_has_no_body(server: Live) -> None:
    response = server.http.head("/")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("name", ["no.js", "../home.py", "%2e%2e/home.py", "samples", ""])
def test_there_is_nothing_else(server: Live, name: str) -> None:
    response = server.http.get(f"/page/{name}")
    assert (response.status_code, problem_of(response)["code"]) == (404, "not_found")


def test_the_page_learns_what_it_may_ask(server: Live) -> None:
    document = server.http.get("/page/start.json").json()
    assert document["mode"] == server.state.settings.mode
    assert document["max_body_bytes"] == server.state.settings.max_body_bytes
    toy = document["bundles"]["toy"]
    attacks = {attack["name"]: tuple(attack["steps"].values()) for attack in toy.pop("attacks")}
    assert list(attacks) == list(ATTACKS)
    assert attacks == {
        "fgsm": ("Steps", 1, 1),
        **dict.fromkeys(("bim", "mim", "pgd", "apgd"), ("Steps", 40, 1000)),
        "cw-l2": ("Steps", 200, 1000),
        "deepfool": ("Steps", 50, 1000),
        **dict.fromkeys(("square", "hopskipjump"), ("Queries", 5000, 10_000)),
    }
    assert document["bundles"] == {
        "toy": {
            "eps": {"linf": {"default": 0.3, "largest": 1.0}, "l2": {"default": 2.0, "largest": 8.0}},
            "claim": None,
            "samples": [],
        }
    }


def test_a_report_gives_its_curve_and_its_pictures(start: Start, toy: ToyBundle, toy_copy: Path) -> None:
    manifest = toy.manifest.model_copy(update={"report": REPORT})
    report = toy_report(manifest).model_copy(update={"eps": 8 / 255})
    (toy_copy / MANIFEST).write_text(manifest.model_dump_json())
    (toy_copy / REPORT).write_text(report.model_dump_json())
    server = start(bundle_catalog(toy_copy))
    facts = server.http.get("/page/start.json").json()["bundles"]["toy"]
    assert facts["claim"]["curve"] == report.curve.model_dump(mode="json")
    assert facts["claim"]["eps"] == "8/255"
    assert [sample["name"] for sample in facts["samples"]] == [picture.label for picture in report.gallery]
    for sample, picture in zip(facts["samples"], report.gallery, strict=True):
        response = server.http.get(f"/{sample['url']}")
        assert (response.headers["content-type"], response.content) == ("image/png", b64decode(picture.original))


@pytest.mark.parametrize("place", ["toy/0", "toy/-1", "toy/one", "other/0", "../0"])
def test_a_bundle_without_a_report_has_no_pictures(server: Live, place: str) -> None:
    response = server.http.get(f"/page/gallery/{place}.png")
    assert response.status_code in (404, 422)


def test_its_samples_are_the_samples() -> None:
    here = {name: asset.body for name, asset in assets().items() if name.startswith("samples/")}
    assert here == {f"samples/{path.name}": path.read_bytes() for path in (ROOT / "samples").glob("*.png")}
