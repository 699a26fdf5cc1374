"""The real Prometheus, with the configuration of deploy/, scrapes the real server and is asked what it has seen."""

import json
import re
import time
from pathlib import Path

import httpx

from runtime.images import encode_png
from tests.live import HANG_S
from tests.programs import ROOT, free_port, greeting, program, running, served
from tests.toy_bundle import ToyBundle

PREDICTIONS = 3


def configuration(port: int) -> str:
    """deploy/prometheus.yml, aimed at the server on this port, once a second."""
    text = (ROOT / "deploy" / "prometheus.yml").read_text()
    text, targets = re.subn(r'targets: \["empir:8000"\]', f'targets: ["127.0.0.1:{port}"]', text)
    text, intervals = re.subn(r"scrape_interval: 5s", "scrape_interval: 1s", text)
    assert (targets, intervals) == (1, 1)
    return text


def ask(url: str, query: str) -> list[dict[str, object]]:
    """The result of an instant query; empty while Prometheus is not there yet."""
    try:
        response = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=HANG_S, trust_env=False)
    except httpx.TransportError:
        return []
    if response.status_code != 200:  # it starts
        return []
    document = response.json()
    assert document["status"] == "success"
    result: list[dict[str, object]] = document["data"]["result"]
    return result


def test_prometheus_sees_the_predictions(toy: ToyBundle, tmp_path: Path) -> None:
    prometheus = program("prometheus")
    with running(served(toy.folder)) as server:
        url = re.search(r"http://127\.0\.0\.1:(\d+)", greeting(server)[0])
        assert url is not None
        for image in toy.images[:PREDICTIONS]:
            httpx.post(f"{url.group()}/predict", content=encode_png(image), timeout=HANG_S, trust_env=False)
        (tmp_path / "prometheus.yml").write_text(configuration(int(url.group(1))))
        address = f"127.0.0.1:{free_port()}"
        command = [
            prometheus,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=error",
        ]
        with running(command) as process:
            end = time.monotonic() + HANG_S
            while not (found := ask(f"http://{address}", "sum by (bundle, job) (empir_predictions_total)")):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end, "Prometheus has seen nothing"
                time.sleep(0.1)  # another program's scrape: there is no event to wait for
            assert [series["metric"] for series in found] == [{"bundle": "toy", "job": "empir"}]
            assert json.dumps(found[0]["value"]).endswith(f', "{PREDICTIONS}"]')
            buckets = ask(f"http://{address}", 'empir_http_request_duration_seconds_count{route="/predict"}')
            assert len(buckets) == 1
