"""The baseline and the peers' job do the same as the runtime: otherwise their times would compare nothing."""

import asyncio
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from loadtest.baseline.app import create_app
from loadtest.peers.job import BUNDLE, Job
from runtime.bundle import load_bundle
from runtime.ensemble import Ensemble
from runtime.images import decode_image

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "bundles" / "mnist-empir"
SAMPLES = [path.read_bytes() for path in sorted((ROOT / "samples").glob("*.png"))]


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return Ensemble.of_bundle(load_bundle(MNIST), cores=1)


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(MNIST)


def post(app: FastAPI, body: bytes, kind: str) -> httpx.Response:
    """An answer, without a socket."""

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://baseline") as client:
            return await client.post("/predict", content=body, headers={"Content-Type": kind})

    return asyncio.run(asked())


@pytest.mark.parametrize("index", range(len(SAMPLES)))
def test_the_baseline_answers_as_the_runtime_does(index: int, app: FastAPI, ensemble: Ensemble) -> None:
    image = decode_image(SAMPLES[index], load_bundle(MNIST).manifest.input)
    expected = ensemble.predict(image)
    verdict = int(expected.verdict[0])
    for body, kind in ((SAMPLES[index], "image/png"), (image.tobytes(), "application/octet-stream")):
        answer = post(app, body, kind).json()
        assert (answer["class_index"], answer["label"]) == (verdict, str(verdict))
        assert [member["name"] for member in answer["members"]] == [member.name for member in ensemble.members]
        found = [member["confidence"] for member in answer["members"]]
        assert np.allclose(found, expected.probs[:, 0].max(axis=1), atol=1e-5)
        assert answer["confidence"] == pytest.approx(float(expected.probs[:, 0, verdict].mean()), abs=1e-5)


def test_the_baseline_refuses_what_is_no_image(app: FastAPI) -> None:
    assert post(app, b"no", "image/png").status_code == 415
    assert post(app, b"no", "application/octet-stream").status_code == 400


def test_a_jpeg_of_another_size_is_fitted(app: FastAPI) -> None:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(SAMPLES[3])) as picture:
        picture.convert("RGB").resize((56, 56)).save(buffer, "JPEG")
    answer = post(app, buffer.getvalue(), "image/jpeg").json()
    assert answer["label"] == "3"


def test_the_peers_job_gives_the_same_verdicts_in_a_batch(ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BUNDLE, str(MNIST))
    job, spec = Job(), load_bundle(MNIST).manifest.input
    images = np.concatenate([decode_image(body, spec) for body in SAMPLES])
    expected = ensemble.predict(images)
    answers = job.batch(SAMPLES)
    assert [answer["class_index"] for answer in answers] == expected.verdict.tolist()
    assert np.array_equal([answer["votes"] for answer in answers], expected.votes.T)
    assert job.batch([image.tobytes() for image in images]) == answers
