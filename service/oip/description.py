"""What the Open Inference Protocol says of the server and its models, in the words of Triton's clients."""

from typing import Any

from service.oip.images import NAME
from service.oip.model import Model

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics"]
PLATFORM, MEMBER_PLATFORM = "empir_ensemble", "onnxruntime_onnx"
CONFIG_TYPES = {"FP32": "TYPE_FP32", "INT64": "TYPE_INT64", "BYTES": "TYPE_STRING"}


def server_metadata(version: str) -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": "empir-serve", "version": version, "extensions": EXTENSIONS}


def metadata(model: Model) -> dict[str, Any]:
    """Inputs and outputs of a model; -1 is the batch."""
    image = {"name": NAME, "datatype": "FP32", "shape": [-1, *_image(model)]}
    outputs = [
        {"name": name, "datatype": kind.datatype, "shape": [-1, *model.dims(name)]}
        for name, kind in model.outputs.items()
    ]
    platform = _platform(model)
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": platform,
        "inputs": [image],
        "outputs": outputs,
    }


def config(model: Model, max_batch: int) -> dict[str, Any]:
    """A model's configuration as Triton has it: batches up to `max_batch`, and shapes without the batch."""
    outputs = [
        {"name": name, "data_type": CONFIG_TYPES[kind.datatype], "dims": model.dims(name)}
        for name, kind in model.outputs.items()
    ]
    return {
        "name": model.name,
        "platform": _platform(model),
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": max_batch,
        "input": [{"name": NAME, "data_type": "TYPE_FP32", "format": "FORMAT_NONE", "dims": _image(model)}],
        "output": outputs,
        "parameters": {"bundle_version": {"string_value": model.served.manifest.version}},
    }


def _image(model: Model) -> list[int]:
    spec = model.served.manifest.input
    return [spec.channels, spec.height, spec.width]


def _platform(model: Model) -> str:
    return PLATFORM if model.member is None else MEMBER_PLATFORM
