"""Ray Serve: `PEER_BUNDLE=DIR python -m loadtest.peers.ray_server PORT`."""

import os
import sys
from pathlib import Path
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from loadtest.peers.job import BUNDLE, Job


class Ensemble:
    """One image a request, inline."""

    def __init__(self) -> None:
        self.job = Job()

    async def __call__(self, request: Request) -> dict[str, Any]:
        return self.job.batch([await request.body()])[0]


if __name__ == "__main__":
    environment = {BUNDLE: os.environ[BUNDLE], "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment})
    logging = {"enable_access_log": False, "log_level": "WARNING"}
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    deployed = serve.deployment(num_replicas=1, max_ongoing_requests=64)(Ensemble)
    serve.run(deployed.bind(), route_prefix="/", blocking=True, logging_config=logging)
