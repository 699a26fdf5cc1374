"""Several workers: one port, one set of totals, one generation of bundles; and nothing left behind."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from runtime.bundle import MANIFEST
from service.exposition import FOLDER_VARIABLE
from tests.live import HANG_S
from tests.programs import greeting, running, served
from tests.service.oip.bodies import document
from tests.toy_bundle import ToyBundle

KEY = {"X-Admin-Key": "key"}
TRIES = 12
"""Connections of their own: that all of them reach the same of two workers happens in none of a thousand runs."""


@dataclass
class Crew:
    """A parent with two workers, and ways to talk to them."""

    process: subprocess.Popen[str]
    url: str

    def ask(self, method: str, path: str, **how: object) -> httpx.Response:
        """One request on a connection of its own, so that either worker may get it."""
        return httpx.request(method, self.url + path, timeout=HANG_S, trust_env=False, **how)  # type: ignore[arg-type]

    def predict(self, picture: bytes) -> httpx.Response:
        return self.ask("POST", "/predict", content=picture, headers={"Content-Type": "image/png"})

    def metric(self, start: str) -> float:
        """The sum of the samples whose line starts so."""
        lines = self.ask("GET", "/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))

    def answered(self, model: str) -> int:
        """How many requests for a model have been answered, of the Open Inference Protocol."""
        (statistics,) = self.ask("GET", f"/v2/models/{model}/stats").json()["model_stats"]
        count: int = statistics["inference_stats"]["success"]["count"]
        return count

    def metrics_of(self, pid: int) -> list[Path]:
        """The files in which a worker's metrics are."""
        variables = Path(f"/proc/{self.children[0]}/environ").read_bytes().split(b"\0")
        (folder,) = [
            each.partition(b"=")[2].decode() for each in variables if each.startswith(FOLDER_VARIABLE.encode())
        ]
        return list(Path(folder).glob(f"*_{pid}.db"))

    def is_complete(self) -> bool:
        """Whether both workers answer; the one that is asked may be just dying."""
        with suppress(httpx.HTTPError):
            return self.metric("empir_workers ") == 2
        return False

    @property
    def children(self) -> list[int]:
        """The processes that it has spawned, in order: the workers, and then the probe process."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return sorted(int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.fixture
def crew(toy_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    monkeypatch.setenv("EMPIR_ADMIN_KEY", "key")
    with running(served(toy_copy, "--workers", "2", "--log-format", "json")) as process:
        yield Crew(process, greeting(process)[0].split(" on ")[1].split()[0])


def test_workers_share_a_port_totals_bundles_and_an_end(crew: Crew, toy_copy: Path, picture: bytes) -> None:
    assert [crew.predict(picture).status_code for _ in range(TRIES)] == [200] * TRIES
    assert crew.metric("empir_workers ") == 2
    assert crew.metric("process_resident_memory_bytes ") > 1e7
    # Totals, whichever worker is asked.
    assert [crew.metric("empir_predictions_total{") for _ in range(TRIES)] == [TRIES] * TRIES
    assert crew.metric('empir_bundle_info{bundle="toy"') == 1

    # A probe: the parent's one process does it.
    probed = crew.ask("POST", "/robustness-probe?eps=0.5", content=picture, headers={"Content-Type": "image/png"})
    assert probed.status_code == 200, probed.text
    assert crew.ask("POST", "/robustness-probe?eps=9", content=picture).status_code == 422

    # Another version is served by both, or by none.
    manifest = json.loads((toy_copy / MANIFEST).read_text())
    (toy_copy / MANIFEST).write_text(json.dumps({**manifest, "version": "2"}))
    assert crew.ask("POST", "/v2/repository/models/toy/load", headers=KEY).status_code == 200
    assert {crew.predict(picture).json()["bundle"]["version"] for _ in range(TRIES)} == {"2"}
    assert {crew.ask("GET", "/v2/models/toy").json()["versions"][0] for _ in range(TRIES)} == {"2"}
    graph = (toy_copy / "fp32.onnx").read_bytes()
    (toy_copy / "fp32.onnx").write_bytes(graph[:-1] + b"\0")
    refused = crew.ask("POST", "/v2/repository/models/toy/load", headers=KEY)
    assert refused.status_code == 422 and "corrupt or altered" in refused.json()["error"]
    assert {crew.predict(picture).json()["bundle"]["version"] for _ in range(TRIES)} == {"2"}
    assert crew.metric('empir_bundle_reloads_total{outcome="loaded"}') == 1
    assert crew.metric('empir_bundle_reloads_total{outcome="failed"}') == 1

    children = crew.children
    os.kill(crew.process.pid, signal.SIGTERM)
    output, errors = crew.process.communicate(timeout=HANG_S)
    assert crew.process.returncode == 0
    assert output == "" and "Traceback" not in errors
    for pid in children:
        assert not Path(f"/proc/{pid}").exists()


def test_a_worker_that_dies_is_replaced_and_its_counts_stay(crew: Crew, toy: ToyBundle, picture: bytes) -> None:
    assert crew.predict(picture).status_code == 200
    while crew.metric("empir_predictions_total{") == 0:  # counted a moment after the answer
        pass
    for _ in range(TRIES):
        assert crew.ask("POST", "/v2/models/toy/infer", json=document(toy.images[:1])).status_code == 200
    while crew.answered("toy") < TRIES:
        pass
    predicted = crew.metric("empir_predictions_total{")
    before = crew.children
    os.kill(before[0], signal.SIGKILL)
    while crew.children == before or not crew.is_complete():
        pass
    assert [crew.predict(picture).status_code for _ in range(TRIES)] == [200] * TRIES
    assert crew.metric("empir_predictions_total{") == TRIES + predicted
    assert crew.answered("toy") == TRIES


def test_a_worker_without_a_bundle_that_another_serves_does_not_join(crew: Crew, toy_copy: Path) -> None:
    other = shutil.copytree(toy_copy, toy_copy.with_name("other"))
    manifest = json.loads((other / MANIFEST).read_text())
    (other / MANIFEST).write_text(json.dumps({**manifest, "name": "other"}))
    assert crew.ask("POST", "/v2/repository/models/other/load", headers=KEY).status_code == 200
    away = other.rename(toy_copy.parent.with_name("away"))
    os.kill(crew.children[0], signal.SIGKILL)
    assert crew.process.stderr is not None
    while "worker turned away" not in (line := crew.process.stderr.readline()):
        pass
    away_pid = json.loads(line)["pid"]
    assert json.loads(line)["bundle"] == "other"
    ready = "/v2/models/other/ready"
    assert [crew.ask("GET", ready).status_code for _ in range(TRIES)] == [200] * TRIES
    away.rename(other)
    while not crew.is_complete():
        pass
    assert crew.metrics_of(crew.children[0]) != []
    assert crew.metrics_of(away_pid) == []  # each try would leave more to add up
    assert [crew.ask("GET", ready).status_code for _ in range(TRIES)] == [200] * TRIES


def test_what_is_wrong_with_a_bundle_is_said_once(toy_copy: Path) -> None:
    (toy_copy / "fp32.onnx").write_bytes(b"no graph")
    with running(served(toy_copy, "--workers", "2")) as process:
        output, errors = process.communicate(timeout=HANG_S)
    assert (process.returncode, output) == (1, "")
    assert len(errors.splitlines()) == 1 and "toy/fp32.onnx: corrupt or altered" in errors
