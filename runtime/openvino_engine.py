"""A member on OpenVINO. Importing this imports openvino, so only who wants it does."""

import sys
from functools import cache
from pathlib import Path
from queue import LifoQueue
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from runtime.errors import BundleError

# OpenVINO reports every import to its makers, over the network; where it does not find this package, it does not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

Floats = NDArray[np.float32]

ONE_THREAD = {
    "NUM_STREAMS": 1,
    "INFERENCE_NUM_THREADS": 1,
    # Several workers would pin their threads to the same cores.
    "ENABLE_CPU_PINNING": False,
    # Nothing that trades exactness for time: no bf16 where the processor has it, no second quantization.
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
}


class OpenVino:
    """A graph as OpenVINO compiled it for the processor, once for each of `cores`: more callers wait.

    One compiled graph with several streams would have one copy of the weights, but a thread of its own for each batch:
    waking that takes longer than a small member. With a single stream OpenVINO runs on the caller's thread.
    """

    def __init__(self, graph: bytes, shape: tuple[int, int, int], cores: int) -> None:
        """`shape`: of an image. Raises BundleError if OpenVINO does not take the graph."""
        self._idle: LifoQueue[ov.InferRequest] = LifoQueue()  # the last one used is the one still in the cache
        try:
            model = _core().read_model(folded(graph))
            for _ in range(cores):
                request = _core().compile_model(model, "CPU", ONE_THREAD).create_infer_request()
                _infer(request, np.zeros((1, *shape), np.float32))  # writes the code for batches of this size
                self._idle.put(request)
        except Exception as error:  # OpenVINO's and ONNX Runtime's exceptions have no common base but Exception
            raise BundleError(f"OpenVINO cannot load it: {told(error)}") from error

    def __call__(self, images: Floats, options: ort.RunOptions | None = None) -> Floats:
        """Logits [N, K]. Raises RuntimeError, of one line. Once begun, a batch is not stopped by `options`."""
        if options is not None and options.terminate:
            raise RuntimeError("stopped before it began")
        request = self._idle.get()
        try:
            return _infer(request, images)
        except Exception as error:
            raise RuntimeError(told(error)) from error
        finally:
            self._idle.put(request)


def _infer(request: ov.InferRequest, images: Floats) -> Floats:
    shared = images.flags.c_contiguous and images.flags.writeable
    request.set_input_tensor(ov.Tensor(images, shared_memory=shared))
    request.infer(share_outputs=True)
    logits: Floats = request.get_output_tensor().data.copy()  # the request's own memory serves the next batch
    return logits


@cache
def _core() -> ov.Core:
    return ov.Core()


def folded(graph: bytes) -> bytes:
    """The graph with its constants worked out by ONNX Runtime, exactly.

    OpenVINO reads no weights of 2 bits; here they become the 8-bit ones that a session makes of them when it loads.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # to standard operators only
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return path.read_bytes()


def told(error: Exception) -> str:
    """What an exception says on one line, without the places in OpenVINO's source that it begins with."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from ", "Check '"))]
    reasons = [line.removeprefix("-- ") for line in said if line.startswith("-- ")]
    return "; ".join(reasons or said) or repr(error)
