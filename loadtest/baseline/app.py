"""A FastAPI handler with three ONNX Runtime sessions, Pillow and a vote, as one writes it in an hour."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI, HTTPException, Request
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel

Pixels = NDArray[np.float32]


class MemberVote(BaseModel):
    """What one member says."""

    name: str
    label: str
    confidence: float


class Answer(BaseModel):
    """The ensemble's answer."""

    label: str
    class_index: int
    confidence: float
    agreement: float
    members: list[MemberVote]


def create_app(folder: Path) -> FastAPI:
    """The application for a bundle's folder; sessions are opened here, once."""
    manifest: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    shape, labels = manifest["input"], manifest["labels"]
    names = [member["name"] for member in manifest["members"]]
    temperatures = [member["temperature"] for member in manifest["members"]]
    tie_breaker = names.index(manifest["vote"]["tie_breaker"])
    sessions = [_session(folder / member["file"]) for member in manifest["members"]]
    app = FastAPI(title="baseline")

    @app.post("/predict")
    async def predict(request: Request) -> Answer:
        """An image as raw body: PNG, JPEG, or float32 pixels as application/octet-stream."""
        image = _image(await request.body(), request.headers.get("content-type", ""), shape)
        logits = [session.run(None, {"image": image})[0][0] for session in sessions]
        probs = [_softmax(each / t) for each, t in zip(logits, temperatures, strict=True)]
        classes = [int(each.argmax()) for each in probs]
        verdict, count = Counter(classes).most_common(1)[0]
        if 2 * count <= len(classes):
            verdict = classes[tie_breaker]
        members = [
            MemberVote(name=name, label=labels[index], confidence=float(each[index]))
            for name, index, each in zip(names, classes, probs, strict=True)
        ]
        return Answer(
            label=labels[verdict],
            class_index=verdict,
            confidence=float(np.mean([each[verdict] for each in probs])),
            agreement=classes.count(verdict) / len(classes),
            members=members,
        )

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _image(body: bytes, kind: str, shape: dict[str, Any]) -> Pixels:
    """float32 [1, C, H, W] in [0, 1]."""
    size = (shape["height"], shape["width"])
    if kind == "application/octet-stream":
        if len(body) != 4 * shape["channels"] * size[0] * size[1]:
            raise HTTPException(400, "expected the pixels of one image as float32")
        return np.frombuffer(body, "<f4").reshape(1, shape["channels"], *size)
    try:
        picture = Image.open(io.BytesIO(body)).convert("L" if shape["channels"] == 1 else "RGB")
    except UnidentifiedImageError as error:
        raise HTTPException(415, "expected an image") from error
    if picture.size != (shape["width"], shape["height"]):
        picture = picture.resize((shape["width"], shape["height"]))
    pixels = np.asarray(picture, np.float32) / np.float32(255)
    return pixels.reshape(*size, -1).transpose(2, 0, 1)[None]


def _softmax(logits: Pixels) -> Pixels:
    powers: Pixels = np.exp(logits - logits.max())
    powers /= powers.sum()
    return powers
