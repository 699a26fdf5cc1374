"""MLServer: a model of the Open Inference Protocol; `write_settings` makes the folder that `mlserver start` wants.

`PEER_BUNDLE=DIR python -m loadtest.peers.mlserver_model FOLDER PORT`, then `mlserver start FOLDER`.
"""

import json
import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from loadtest.peers.job import Job

NAME = "mnist-empir"


class Ensemble(MLModel):
    """Input `image` FP32 [N, C, H, W]; output `label`."""

    async def load(self) -> bool:
        self.job = Job()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        labels = [answer["label"] for answer in self.job.vote(images)]
        return InferenceResponse(
            model_name=self.name, outputs=[StringCodec.encode_output("label", labels, use_bytes=False)]
        )


def write_settings(folder: Path, port: int) -> None:
    """One model, no worker processes, no metrics server."""
    folder.mkdir(parents=True, exist_ok=True)
    server = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "parallel_workers": 0, "debug": False}
    channels, height, width = Job().shape
    inputs = [{"name": "image", "datatype": "FP32", "shape": [-1, channels, height, width]}]
    model = {"name": NAME, "implementation": "loadtest.peers.mlserver_model.Ensemble", "inputs": inputs}
    (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")


if __name__ == "__main__":
    write_settings(Path(sys.argv[1]), int(sys.argv[2]))
