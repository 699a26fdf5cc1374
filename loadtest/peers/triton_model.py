"""Triton, all members in one Python model; writes the folder of models that Triton wants, and starts it.

`PEER_BUNDLE=DIR PEER_BATCH=1|16 python -m loadtest.peers.triton_model FOLDER PORT`.
"""

import os
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.peers.job import Job

NAME = "mnist-empir"
MODEL = """import sys
sys.path[:0] = {path}  # of the environment that wrote this: the backend's Python reads no PYTHONPATH
from loadtest.peers.triton_model import Ensemble as TritonPythonModel
"""
CONFIG = """backend: "python"
max_batch_size: 16
input {{ name: "image" data_type: TYPE_FP32 dims: [{dims}] }}
output {{ name: "label" data_type: TYPE_STRING dims: [1] }}
output {{ name: "class_index" data_type: TYPE_INT64 dims: [1] }}
instance_group {{ kind: KIND_CPU count: 1 }}
{batching}
"""


class Ensemble:
    """Input `image` FP32 [N, C, H, W]; outputs `label` and `class_index`."""

    def initialize(self, args: dict[str, str]) -> None:
        self.job = Job()

    def execute(self, requests: list[Any]) -> list[Any]:
        """All requests that Triton hands over, in one batch."""
        import triton_python_backend_utils as triton

        images = [triton.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        answers = iter(self.job.vote(np.concatenate(images)))
        responses = []
        for each in images:
            mine = [next(answers) for _ in each]
            labels = np.array([[answer["label"].encode()] for answer in mine], np.object_)
            classes = np.array([[answer["class_index"]] for answer in mine], np.int64)
            tensors = [triton.Tensor("label", labels), triton.Tensor("class_index", classes)]
            responses.append(triton.InferenceResponse(tensors))
        return responses


def write_repository(folder: Path, batches: bool) -> None:
    """One model with one instance; `batches` lets requests that wait run together."""
    model = folder / NAME
    (model / "1").mkdir(parents=True, exist_ok=True)
    (model / "1" / "model.py").write_text(
        MODEL.format(path=[str(Path.cwd()), *filter(None, sys.path)]), encoding="utf-8"
    )
    dims = ", ".join(str(size) for size in Job().shape)
    config = CONFIG.format(dims=dims, batching="dynamic_batching { }" if batches else "")
    (model / "config.pbtxt").write_text(config, encoding="utf-8")


def start(repository: Path, port: int) -> None:
    """Become Triton, which `nvidia-pytriton` brings, on this Python."""
    found = find_spec("pytriton")
    assert found is not None and found.origin is not None
    home = Path(found.origin).parent / "tritonserver"
    stub, backend = "triton_python_backend_stub", home / "backends" / "python"
    shutil.copy(home / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}" / stub, backend / stub)
    options = {"model-repository": repository, "backend-directory": home / "backends", "http-port": port}
    options |= {"allow-grpc": "false", "allow-metrics": "false"}
    libraries = {"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR")}
    words = [f"--{name}={value}" for name, value in options.items()]
    os.execve(home / "bin" / "tritonserver", ["tritonserver", *words], {**os.environ, **libraries})


if __name__ == "__main__":
    write_repository(Path(sys.argv[1]), os.environ.get("PEER_BATCH", "1") != "1")
    start(Path(sys.argv[1]), int(sys.argv[2]))
