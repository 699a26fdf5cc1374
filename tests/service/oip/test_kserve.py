"""KServe's clients, over REST and gRPC, are answered as the runtime says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from runtime.bundle import load_bundle
from runtime.ensemble import Ensemble
from tests.live import HANG_S, Live
from tests.toy_bundle import LABELS, ToyBundle

SCRIPT = Path(__file__).with_name("kserve_client.py")
WAYS = ("rest values", "rest bytes", "grpc values", "grpc bytes")


def test_kserves_clients_are_at_home(both: Live, toy: ToyBundle, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", toy.images)
    url, address = f"http://127.0.0.1:{both.port}", f"127.0.0.1:{both.app.state.grpc_port}"
    command = [sys.executable, str(SCRIPT), url, address, "toy", str(tmp_path / "images.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * HANG_S, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["rest ready"] == said["grpc ready"] == [True, True, True]
    ensemble = Ensemble.of_bundle(load_bundle(toy.folder))
    expected = ensemble.predict(toy.images, "quorum")
    ensemble.close()
    for way in WAYS:
        assert said[way]["class_index"] == expected.verdict.tolist(), way
        assert said[way]["label"] == [LABELS[verdict] for verdict in expected.verdict], way
        assert said[way]["member_status"] == [
            status[image] for image in range(len(toy.images)) for status in expected.status
        ]
