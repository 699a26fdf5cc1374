"""What Triton's `perf_analyzer` asks over REST, in its order and with its bytes, and every field that it reads.

Written down from version 2.46 at work; it ends at the first field that is missing or of another type.
"""

import json
from typing import Any

import numpy as np

from tests.live import Live
from tests.toy_bundle import LABELS, ToyBundle

AGENT = {"User-Agent": "libcurl-agent/1.0", "Accept": "*/*"}
MODEL = "/v2/models/toy"
SIZES = {"FP32": 4, "INT64": 8}


def get(server: Live, path: str) -> Any:
    response = server.http.get(path, headers=AGENT)
    assert response.status_code == 200
    return response.json()


def statistics(server: Live) -> dict[str, int]:
    """The numbers that it subtracts from those that it has read before."""
    (model,) = get(server, f"{MODEL}/stats")["model_stats"]
    assert (model["name"], model["version"]) == ("toy", "1")
    numbers = {name: model[name] for name in ("inference_count", "execution_count")}
    stages = ("success", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
    for stage in stages:
        for unit in ("count", "ns"):
            numbers[f"{stage} {unit}"] = model["inference_stats"][stage][unit]
    assert all(type(number) is int and number >= 0 for number in numbers.values())
    return numbers


def infer(server: Live, image: bytes, shape: list[int], outputs: list[str]) -> dict[str, bytes]:
    """Its request with one binary input, for every output as bytes; each output's, found by the sizes in the answer."""
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, *shape], "parameters": {"binary_data_size": len(image)}}
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    head = json.dumps({"id": "", "inputs": [tensor], "outputs": wanted}, separators=(",", ":")).encode()
    sent = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    response = server.http.post(f"{MODEL}/infer", content=head + image, headers={**AGENT, **sent})
    assert response.status_code == 200
    at = int(response.headers["inference-header-content-length"])
    answer = json.loads(response.content[:at])
    assert (answer["model_name"], answer["model_version"]) == ("toy", "1")
    read = {}
    for output in answer["outputs"]:
        size = output["parameters"]["binary_data_size"]
        read[output["name"]] = response.content[at : at + size]
        assert output["datatype"] == "BYTES" or size == np.prod(output["shape"]) * SIZES[output["datatype"]]
        at += size
    assert at == len(response.content)
    return read


def test_its_questions_are_answered_as_it_reads_them(both: Live, toy: ToyBundle) -> None:
    metadata, config = get(both, MODEL), get(both, f"{MODEL}/config")
    assert metadata["name"] == "toy" and type(config["max_batch_size"]) is int and config["max_batch_size"] > 0
    assert config["platform"] != "ensemble"  # else it asks for the configuration of every model of its steps
    assert not {"sequence_batching", "model_transaction_policy", "response_cache"} & config.keys()
    for kind in ("input", "output"):
        tensors = {each["name"]: each for each in metadata[f"{kind}s"]}
        assert {each["name"] for each in config[kind]} == tensors.keys()
        assert all(type(dim) is int and dim > 0 for each in tensors.values() for dim in each["shape"][1:])
    assert "statistics" in get(both, "/v2")["extensions"]
    outputs = sorted(output["name"] for output in metadata["outputs"])
    (_, *shape) = metadata["inputs"][0]["shape"]
    before = statistics(both)
    for index, image in enumerate(toy.images[:3]):
        read = infer(both, image.astype("<f4").tobytes(), shape, outputs)
        assert np.frombuffer(read["class_index"], "<i8").tolist() == [toy.classes[index]]
        assert read["label"][4:].decode() == LABELS[toy.classes[index]]
    after = statistics(both)
    passed = {name: after[name] - before[name] for name in after}
    counts = ("inference_count", "execution_count", "success count", "compute_infer count", "queue count")
    assert [passed[name] for name in counts] == [3] * len(counts)
    assert passed["compute_infer ns"] <= passed["success ns"]
