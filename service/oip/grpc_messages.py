"""The messages of gRPC's GRPCInferenceService, from and to the same requests and responses as REST's."""

from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as messages

from service.errors import MalformedRequest
from service.oip.model import Model
from service.oip.request import InferRequest, checked_request
from service.oip.response import InferResponse
from service.oip.tensors import Tensor, Values

CONTENTS = {"FP32": "fp32_contents", "UINT8": "uint_contents", "BYTES": "bytes_contents"}
EMPTY_FINAL = "triton_enable_empty_final_response"


def from_message(model: Model, message: Any, most_images: int) -> InferRequest:
    """The request in a ModelInferRequest, its tensors raw or typed. Raises what `checked_request` raises."""
    raws = message.raw_input_contents
    if raws and len(raws) != len(message.inputs):
        raise MalformedRequest(f"raw_input_contents: expected none or {len(message.inputs)}, got {len(raws)}")
    inputs = [_tensor(each, memoryview(raws[index]) if raws else None) for index, each in enumerate(message.inputs)]
    for index, output in enumerate(message.outputs):
        for extension in ("classification", "shared_memory_region"):
            if extension in output.parameters:
                raise MalformedRequest(f"outputs[{index}].parameters.{extension}: this server has no such thing")
    parameters = {name: _value(value) for name, value in message.parameters.items()}
    if not isinstance(parameters.get(EMPTY_FINAL, False), bool):
        raise MalformedRequest(f"parameters.{EMPTY_FINAL}: expected bool_param, got something else")
    outputs = [(output.name, True) for output in message.outputs]
    return checked_request(model, message.id, inputs, outputs, parameters, most_images)


def to_message(response: InferResponse) -> Any:
    """A ModelInferResponse, its tensors raw."""
    message = messages.ModelInferResponse(
        model_name=response.model_name, model_version=response.model_version, id=response.id
    )
    message.parameters["degraded"].bool_param = response.degraded
    for output, _ in response.outputs:
        message.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        message.raw_output_contents.append(output.raw())
    return message


def final_message(request: Any, answered: Any, error: str | None) -> Any:
    """A ModelStreamInferResponse: the one and only answer to a request of a stream, or the error instead of it.

    As Triton does for a model that is not decoupled, it says itself that it is the final one; an empty response behind
    it, which `triton_enable_empty_final_response` asks for, follows answers that cannot know that they were the last.
    """
    answer = messages.ModelInferResponse(id=request.id, model_name=request.model_name) if error else answered
    answer.parameters["triton_final_response"].bool_param = True
    return messages.ModelStreamInferResponse(error_message=error, infer_response=answer)


def _tensor(message: Any, raw: memoryview | None) -> Tensor:
    if "shared_memory_region" in message.parameters:
        raise MalformedRequest("inputs[0].parameters.shared_memory_region: expected none; this server shares no memory")
    filled = [descriptor.name for descriptor, _ in message.contents.ListFields()]
    values = None
    if raw is not None and filled:
        raise MalformedRequest("inputs[0].contents: expected either this or raw_input_contents, got both")
    if raw is None:
        expected = CONTENTS.get(message.datatype)  # of any other datatype nothing is read
        if expected is not None and filled != [expected]:
            raise MalformedRequest(
                f"inputs[0].contents: expected {expected} for {message.datatype}, got {', '.join(filled) or 'nothing'}"
            )
        values = _values(message, expected)
    return Tensor(message.name, message.datatype, tuple(message.shape), raw, values)


def _values(message: Any, field: str | None) -> Values:
    if field is None:
        return []
    values = getattr(message.contents, field)
    return list(values) if field == "bytes_contents" else np.array(values)


def _value(parameter: Any) -> Any:
    chosen = parameter.WhichOneof("parameter_choice")
    return None if chosen is None else getattr(parameter, chosen)
