"""mosec: `PEER_BUNDLE=DIR PEER_BATCH=1|16 python -m loadtest.peers.mosec_server --port P`."""

import json
import os
from typing import Any

from mosec import Server, Worker

from loadtest.peers.job import Job


class Ensemble(Worker):
    """One image a request."""

    def __init__(self) -> None:
        super().__init__()
        self.job = Job()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def serialize(self, data: Any) -> bytes:
        """Without mosec's own indentation, which only costs."""
        return json.dumps(data).encode()

    def forward(self, data: Any) -> Any:
        return self.job.batch([data])[0]


class Batched(Ensemble):
    """Those that wait together."""

    def forward(self, data: Any) -> Any:
        return self.job.batch(data)


if __name__ == "__main__":
    batch = int(os.environ.get("PEER_BATCH", "1"))
    server = Server()
    if batch == 1:
        server.append_worker(Ensemble)
    else:
        server.append_worker(Batched, max_batch_size=batch, max_wait_time=2)
    server.run()
