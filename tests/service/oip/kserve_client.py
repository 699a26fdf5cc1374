"""KServe's own clients, in a process of their own: they cannot be imported beside Triton's, whose messages they rename.

`python kserve_client.py REST_URL GRPC_ADDRESS MODEL IMAGES.npy`: prints, as JSON, what each says of the images.
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

OUTPUTS = ("label", "class_index", "member_status")


async def main(url: str, address: str, model: str, file: str) -> dict[str, Any]:
    """Labels, class indices and states of the members, by way: JSON and bytes over REST, values and bytes over gRPC."""
    images = np.load(file)
    rest, grpc = InferenceRESTClient(RESTConfig(protocol="v2")), InferenceGRPCClient(address)
    said: dict[str, Any] = {
        "rest ready": [
            await rest.is_server_live(url),
            await rest.is_server_ready(url),
            await rest.is_model_ready(url, model),
        ],
        "grpc ready": [await grpc.is_server_live(), await grpc.is_server_ready(), await grpc.is_model_ready(model)],
    }
    for way, as_bytes in (("values", False), ("bytes", True)):
        request = InferRequest(model, [tensor(images, as_bytes)], parameters={"mode": "quorum"})
        said[f"rest {way}"] = read(await rest.infer(url, request, model_name=model))
        said[f"grpc {way}"] = read(await grpc.infer(request))
    await rest.close()
    await grpc.close()
    return said


def tensor(images: Any, as_bytes: bool) -> Any:
    """The input `image`."""
    value = InferInput("image", list(images.shape), "FP32")
    value.set_data_from_numpy(images, binary_data=as_bytes)
    return value


def read(response: Any) -> dict[str, list[Any]]:
    """Some outputs, as JSON has them."""
    outputs = {output.name: output.as_numpy().ravel().tolist() for output in response.outputs}
    return {name: [each.decode() if isinstance(each, bytes) else each for each in outputs[name]] for name in OUTPUTS}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
