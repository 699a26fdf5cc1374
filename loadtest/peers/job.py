"""The job that every peer is given: an image in, three members, a majority, JSON out."""

import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

BUNDLE = "PEER_BUNDLE"
"""Environment variable with the bundle's folder: frameworks start workers of their own, and those inherit it."""

Pixels = NDArray[np.float32]


class Job:
    """The members of a bundle, one thread each, and their vote."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open the sessions. Raises KeyError if neither the folder nor the variable is given."""
        folder = folder or Path(os.environ[BUNDLE])
        manifest: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        spec = manifest["input"]
        self.shape = (int(spec["channels"]), int(spec["height"]), int(spec["width"]))
        self.labels: list[str] = manifest["labels"]
        self._tie_breaker = [member["name"] for member in manifest["members"]].index(manifest["vote"]["tie_breaker"])
        self._sessions = [_session(folder / member["file"]) for member in manifest["members"]]

    def image(self, body: bytes) -> Pixels:
        """float32 [1, C, H, W] in [0, 1]: raw pixels where the length is theirs, otherwise a PNG or JPEG."""
        channels, height, width = self.shape
        if len(body) == 4 * channels * height * width:
            return np.frombuffer(body, "<f4").reshape(1, *self.shape)
        picture = Image.open(io.BytesIO(body)).convert("L" if channels == 1 else "RGB")
        if picture.size != (width, height):
            picture = picture.resize((width, height))
        pixels = np.asarray(picture, np.float32) / np.float32(255)
        return pixels.reshape(height, width, channels).transpose(2, 0, 1)[None]

    def vote(self, images: Pixels) -> list[dict[str, Any]]:
        """An answer for each of the images [N, C, H, W]."""
        classes = [session.run(None, {"image": images})[0].argmax(axis=1).tolist() for session in self._sessions]
        return [self._answer(votes) for votes in zip(*classes, strict=True)]

    def batch(self, bodies: Sequence[bytes]) -> list[dict[str, Any]]:
        """An answer for each body, in one batch."""
        return self.vote(np.concatenate([self.image(body) for body in bodies]))

    def _answer(self, votes: tuple[int, ...]) -> dict[str, Any]:
        verdict, count = Counter(votes).most_common(1)[0]
        verdict = verdict if 2 * count > len(votes) else votes[self._tie_breaker]
        return {"label": self.labels[verdict], "class_index": verdict, "votes": list(votes)}


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
