"""The documentation: complete without a network, shown by a real browser, with examples that work."""

import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from tests.live import HANG_S, Live
from tests.programs import program

OPERATIONS = {
    "/predict": "post",
    "/robustness-probe": "post",
    "/bundles": "get",
    "/bundles/{name}/report": "get",
    "/bundles/{name}/report.json": "get",
    "/metrics": "get",
    "/health/live": "get",
    "/health/ready": "get",
    "/v2": "get",
    "/v2/health/live": "get",
    "/v2/health/ready": "get",
    "/v2/models/stats": "get",
    "/v2/models/{name}": "get",
    "/v2/models/{name}/ready": "get",
    "/v2/models/{name}/config": "get",
    "/v2/models/{name}/stats": "get",
    "/v2/models/{name}/infer": "post",
    "/v2/repository/index": "post",
    "/v2/repository/models/{name}/load": "post",
    "/v2/repository/models/{name}/unload": "post",
}


def test_every_operation_is_described(server: Live) -> None:
    paths = server.http.get("/openapi.json").json()["paths"]
    assert {path: next(iter(operations)) for path, operations in paths.items()} == OPERATIONS
    for path, method in OPERATIONS.items():
        assert paths[path][method]["description"]


def test_no_answer_of_the_framework_is_promised(server: Live) -> None:
    assert "ValidationError" not in server.http.get("/openapi.json").text


def test_parameters_are_described_with_their_choices(server: Live) -> None:
    paths = server.http.get("/openapi.json").json()["paths"]
    predict = {each["name"]: each for each in paths["/predict"]["post"]["parameters"]}
    assert predict.keys() == {"mode", "bundle"}
    assert predict["mode"]["schema"]["enum"] == ["full", "quorum"]
    probe = {each["name"] for each in paths["/robustness-probe"]["post"]["parameters"]}
    assert probe == {
        *("bundle", "attack", "norm", "eps", "steps", "step_size", "restarts", "label", "target", "seed", "budget_ms"),
    }


@pytest.mark.parametrize("path", ["/predict", "/robustness-probe"])
def test_the_example_works_when_it_is_tried(server: Live, path: str) -> None:
    operation = server.http.get("/openapi.json").json()["paths"][path]["post"]
    first, media = next(iter(operation["requestBody"]["content"].items()))
    query = {each["name"]: each["examples"][0] for each in operation.get("parameters", []) if "examples" in each}
    assert first == "application/json"  # what the page offers to try
    response = server.http.post(path, params=query, json=media["example"])
    assert response.status_code == 200, response.text


def test_the_example_of_an_answer_has_the_fields_of_an_answer(server: Live, picture: bytes) -> None:
    operation = server.http.get("/openapi.json").json()["paths"]["/predict"]["post"]
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    answer = server.predict(picture).json()
    assert list(example) == list(answer)
    for part in ("latency_ms", "bundle"):
        assert list(example[part]) == list(answer[part])
    assert list(example["members"][0]) == list(answer["members"][0])


class References(HTMLParser):
    """What a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_page_needs_nothing_from_elsewhere(server: Live) -> None:
    page = server.http.get("/docs")
    references = References()
    references.feed(page.text)
    assert len(references.found) >= 3
    for reference in references.found:
        url = urljoin(str(page.url), reference)
        assert urlsplit(url).netloc == urlsplit(str(page.url)).netloc
        assert server.http.get(url).status_code == 200
    assert "https://" not in page.text


def test_a_browser_shows_every_operation(server: Live, tmp_path: Path) -> None:
    command = [
        program("chromium"),
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
        *("--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path}"),
        *("--virtual-time-budget=10000", "--dump-dom", f"http://127.0.0.1:{server.port}/docs"),
    ]
    # It writes to standard error whatever it pleases.
    shown = subprocess.run(command, capture_output=True, text=True, timeout=2 * HANG_S, check=True).stdout
    assert "EMPIR Serve" in shown
    for path in OPERATIONS:
        assert f'data-path="{path}"' in shown
