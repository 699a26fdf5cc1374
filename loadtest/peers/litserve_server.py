"""LitServe: `PEER_BUNDLE=DIR PEER_BATCH=1|16 python -m loadtest.peers.litserve_server PORT`."""

import base64
import os
import sys
from typing import Any, cast

import litserve
from fastapi import Request

from loadtest.peers.job import Job


class Ensemble(litserve.LitAPI):
    """A JSON body with the image in base64: LitServe reads no other, apart from forms."""

    def setup(self, device: str) -> None:
        self.job = Job()

    def decode_request(self, request: Request) -> bytes:
        """LitServe goes by the annotation, and hands over the body's JSON."""
        return base64.b64decode(cast("dict[str, str]", request)["image"])

    def predict(self, bodies: Any) -> Any:
        return self.job.batch(bodies) if isinstance(bodies, list) else self.job.batch([bodies])[0]

    def batch(self, inputs: Any) -> Any:
        """As they are: `predict` makes the array."""
        return inputs

    def unbatch(self, output: Any) -> Any:
        """One answer an image already."""
        return output

    def encode_response(self, output: Any) -> Any:
        return output


if __name__ == "__main__":
    size = int(os.environ.get("PEER_BATCH", "1"))
    api = Ensemble(max_batch_size=size, batch_timeout=0.002)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
