"""Engines that run members: the same answers, or a reason why not."""

import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from export.graphs.integer_graph import member_graph
from models.dorefa import QuantConv2d
from models.folding import freeze
from models.integer import QuantizeInput
from runtime import engine_choice
from runtime.bundle import Bundle, load_bundle
from runtime.engine import EngineName, Floats, MemberGraph, Run
from runtime.engine_choice import COMPARED, choose, disagreement, image_seconds, images_like
from runtime.errors import BundleError
from runtime.member import Member
from runtime.sessions import CPU, CUDA
from tests.programs import package
from tests.toy_bundle import LABELS, SHAPE, ToyBundle

FEW_BITS = {TensorProto.UINT2, TensorProto.INT2, TensorProto.UINT4, TensorProto.INT4}


@pytest.fixture(scope="module")
def bundle(toy: ToyBundle) -> Bundle:
    return load_bundle(toy.folder)


@pytest.fixture(scope="module")
def convolutions() -> nn.Sequential:
    """A w2a4 network whose integer layers are convolutions only."""
    torch.manual_seed(0)
    return freeze(
        nn.Sequential(
            QuantizeInput(4),
            QuantConv2d(1, 4, 3, stride=2, padding=1, weight_bits=2, in_bits=4, out_bits=4),
            QuantConv2d(4, 6, 3, weight_bits=2, in_bits=4, out_bits=None),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, len(LABELS), bias=False),
        )
    )


@pytest.fixture(scope="module")
def low(bundle: Bundle, convolutions: nn.Sequential) -> Bundle:
    """The toy bundle with this network as its first member."""
    data = member_graph(convolutions, SHAPE, "w2a4").SerializeToString()
    return Bundle(bundle.folder, bundle.manifest, bundle.graphs | {bundle.manifest.members[0].file: data})


@pytest.fixture
def graph(bundle: Bundle) -> MemberGraph:
    """The full-precision member's."""
    return graph_of(bundle, 2)


def graph_of(bundle: Bundle, index: int) -> MemberGraph:
    entry = bundle.manifest.members[index]
    return MemberGraph(bundle.graphs[entry.file], f"toy/{entry.file}", SHAPE, len(LABELS))


def on_openvino(bundle: Bundle, index: int = 0, cores: int = 1) -> Member:
    package("openvino")
    return Member(bundle, bundle.manifest.members[index], "openvino", cores)


@pytest.mark.parametrize("index", [0, 2])
def test_openvino_gives_the_networks_logits_to_batches_of_any_size(
    toy: ToyBundle, low: Bundle, convolutions: nn.Sequential, index: int
) -> None:
    member, network = on_openvino(low, index), (convolutions, *toy.networks[1:])[index]
    with torch.no_grad():
        expected = network(torch.from_numpy(toy.images)).numpy()
    for rows in (slice(None), slice(3, 4), slice(0, 9, 2), slice(8)):
        answer = member.answer(toy.images[rows])
        assert answer.logits is not None, answer.detail
        np.testing.assert_allclose(answer.logits, expected[rows], atol=1e-4 * np.abs(expected).max())
    assert (member.engine.name, member.engine.reason) == ("openvino", None)


def test_a_member_with_a_kernel_that_openvino_lacks_stays_on_onnx_runtime(graph: MemberGraph) -> None:
    package("openvino")
    model = onnx.load_from_string(graph.data)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    for node in model.graph.node:
        node.input[:] = ["inverse" if name == "image" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Inverse", ["image"], ["inverse"], domain="com.microsoft"))
    _, engine = choose(replace(graph, data=model.SerializeToString()), "auto", 1)
    assert engine.name == "onnxruntime" and engine.reason is not None
    why = r"openvino: OpenVINO cannot load it: .*No conversion rule found for operations: com\.microsoft\.Inverse\b.*"
    assert re.fullmatch(why, engine.reason)


def test_openvino_reads_images_that_nobody_may_write_to(toy: ToyBundle, low: Bundle) -> None:
    member, body = on_openvino(low), toy.images.tobytes()
    frozen = np.frombuffer(body, np.float32).reshape(toy.images.shape)
    assert not frozen.flags.writeable
    found, usual = member.answer(frozen).logits, Member(low, low.manifest.members[0]).answer(toy.images).logits
    assert found is not None and usual is not None
    np.testing.assert_allclose(found, usual, atol=1e-4 * np.abs(usual).max())


def test_callers_of_openvino_get_their_own_answers(toy: ToyBundle, low: Bundle) -> None:
    member = on_openvino(low, cores=2)
    alone = [member.answer(image[np.newaxis]).logits for image in toy.images]
    with ThreadPoolExecutor(6) as callers:
        together = list(
            callers.map(lambda image: member.answer(image[np.newaxis]).logits, np.tile(toy.images, (4, 1, 1, 1)))
        )
    np.testing.assert_array_equal(np.array(together), np.array(alone * 4))


@pytest.mark.parametrize("shape", [(2, 1, 8, 9), (2, 3, 8, 8), (8, 8)], ids=str)
def test_what_openvino_refuses_is_an_answer_with_a_reason_and_harms_no_other(
    toy: ToyBundle, low: Bundle, shape: tuple[int, ...]
) -> None:
    member = on_openvino(low)
    failed = member.answer(np.zeros(shape, np.float32))
    assert failed.logits is None and failed.reason == "error"
    assert "input" in failed.detail and "Exception from" not in failed.detail and "\n" not in failed.detail
    assert member.answer(toy.images).reason is None


def test_openvino_does_not_begin_what_is_stopped(toy: ToyBundle, low: Bundle) -> None:
    options = ort.RunOptions()
    options.terminate = True
    answer = on_openvino(low).answer(toy.images, options)
    assert answer.logits is None and answer.detail == "stopped before it began"


def test_weights_of_few_bits_are_unpacked_for_openvino(low: Bundle) -> None:
    package("openvino")
    from runtime.openvino_engine import folded

    packed = graph_of(low, 0).data
    types = [
        {each.data_type for each in onnx.load_from_string(data).graph.initializer} for data in (packed, folded(packed))
    ]
    assert FEW_BITS & types[0] and not FEW_BITS & types[1] and TensorProto.INT8 in types[1]


def test_a_graph_that_openvino_refuses_is_named_in_one_line(graph: MemberGraph) -> None:
    package("openvino")
    with pytest.raises(BundleError, match=r"^OpenVINO cannot load it: [^\n]+$"):
        replace(graph, data=b"garbage").on("openvino", 1)


RIGHT = np.array([[1, 5], [4, 2]], np.float32)

DISAGREEMENTS: dict[str, tuple[Floats, str | None]] = {
    "the same": (RIGHT, None),
    "within the tolerance": (RIGHT + np.float32(0.004), None),
    "beyond it": (RIGHT + np.float32(0.006), "off by 0.006 from ONNX Runtime's, whose largest is 5"),
    "one class": (RIGHT * np.array([[1], [-1]], np.float32), "1 classes differ"),
    "another class, hardly": (np.array([[1, 5], [3, 3.001]], np.float32), "1 classes differ"),
    "not a number": (np.array([[1, 5], [4, np.nan]], np.float32), "not finite"),
    "infinite": (np.array([[1, np.inf], [4, 2]], np.float32), "not finite"),
    "fewer": (RIGHT[:1], r"shape \(1, 2\), ONNX Runtime's \(2, 2\)"),
}


@pytest.mark.parametrize(("found", "says"), DISAGREEMENTS.values(), ids=DISAGREEMENTS)
def test_answers_that_count_as_others(found: Floats, says: str | None) -> None:
    difference = disagreement(RIGHT, found)
    if says is None:
        assert difference is None
    else:
        assert difference is not None
        assert re.search(says, difference)


def test_engines_are_compared_on_the_same_images_each_time() -> None:
    graph = MemberGraph(b"", "odd", (3, 9, 5), 2)
    images = images_like(graph)
    assert images.shape == (COMPARED, 3, 9, 5) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1 and len(np.unique(images.mean(axis=(1, 2, 3)))) == COMPARED
    np.testing.assert_array_equal(images, images_like(graph))


Other = Callable[[Run], Run]


def another_engine(monkeypatch: pytest.MonkeyPatch, make: Other, name: EngineName = "openvino") -> None:
    """`name` is installed, alone, and runs what `make` makes of ONNX Runtime's run."""
    monkeypatch.setattr(engine_choice, "lacks", lambda each: None if each == name else "absent")
    monkeypatch.setattr(MemberGraph, "on", lambda self, name, cores: make(self.on_onnxruntime()))


def shifted(run: Run) -> Run:
    return lambda images, options: run(images, options) + np.float32(1)


def wrong_when_alone(run: Run) -> Run:
    return lambda images, options: run(images, options) * np.float32(1 if len(images) > 1 else -1)


def failing(run: Run) -> Run:
    def fail(images: Floats, options: ort.RunOptions | None) -> Floats:
        raise RuntimeError("no kernel")

    return fail


REFUSED: dict[str, tuple[Other, str]] = {
    "other logits": (shifted, "logits are off by 1 from ONNX Runtime's, whose largest is [^;]+, of 8 random images"),
    "other classes of one image": (wrong_when_alone, "1 classes differ from ONNX Runtime's, of 1 random images"),
    "fails": (failing, "fails on 8 images: no kernel"),
}


@pytest.mark.parametrize(("make", "says"), REFUSED.values(), ids=REFUSED)
def test_an_engine_that_was_asked_for_and_answers_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch, graph: MemberGraph, make: Other, says: str
) -> None:
    another_engine(monkeypatch, make)
    line = rf"^toy/fp32.onnx: engine openvino \(EMPIR_ENGINE\): {says}; with `auto` ONNX Runtime takes over$"
    with pytest.raises(BundleError, match=line):
        choose(graph, "openvino", 1)


@pytest.mark.parametrize(("make", "says"), REFUSED.values(), ids=REFUSED)
def test_with_auto_onnx_runtime_takes_its_place_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, graph: MemberGraph, make: Other, says: str
) -> None:
    another_engine(monkeypatch, make)
    monkeypatch.setattr(engine_choice, "image_seconds", lambda *arguments: pytest.fail("nothing to choose from"))
    with caplog.at_level(logging.WARNING):
        _, engine = choose(graph, "auto", 1)
    assert engine.name == "onnxruntime" and engine.reason is not None
    assert re.fullmatch(f"openvino: {says}; cuda is not installed", engine.reason)
    assert [record.getMessage().split(": ")[:2] for record in caplog.records] == [["toy/fp32.onnx", "engine openvino"]]


@pytest.mark.parametrize(("seconds", "wins"), [(0.001, "openvino"), (0.003, "onnxruntime")])
def test_with_auto_the_quicker_of_two_that_agree_runs_the_member(
    monkeypatch: pytest.MonkeyPatch, toy: ToyBundle, graph: MemberGraph, seconds: float, wins: EngineName
) -> None:
    ran = []

    def noting(run: Run) -> Run:
        def noted(images: Floats, options: ort.RunOptions | None) -> Floats:
            ran.append(len(images))
            return run(images, options)

        return noted

    another_engine(monkeypatch, noting)
    monkeypatch.setattr(
        engine_choice, "image_seconds", lambda runs, image: dict(zip(runs, (0.002, seconds), strict=True))
    )
    run, engine = choose(graph, "auto", 1)
    assert engine.name == wins
    assert engine.reason == f"ms an image: onnxruntime 2.000, openvino {1000 * seconds:.3f}; cuda is not installed"
    run(toy.images[:5], None)
    assert ran == [COMPARED, 1] + ([5] if wins == "openvino" else [])


def test_engines_take_turns_while_they_are_timed() -> None:
    ran: list[str] = []

    def noting(name: str) -> Run:
        def run(images: Floats, options: ort.RunOptions | None) -> Floats:
            ran.append(name)
            return images

        return run

    seconds = image_seconds({"onnxruntime": noting("a"), "openvino": noting("b")}, np.zeros((1, 1, 1, 1), np.float32))
    assert ran == ["a", "b"] * engine_choice.ROUNDS
    assert list(seconds) == ["onnxruntime", "openvino"] and min(seconds.values()) > 0


@pytest.mark.parametrize(("name", "needs"), [("openvino", r"empir-serve\[openvino\]"), ("cuda", "onnxruntime-gpu")])
def test_an_engine_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, graph: MemberGraph, name: EngineName, needs: str
) -> None:
    monkeypatch.setattr("runtime.engine.find_spec", lambda name: None)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    with pytest.raises(BundleError, match=rf"engine {name} \(EMPIR_ENGINE\): .* needs the package .*{needs}"):
        choose(graph, name, 1)
    _, engine = choose(graph, "auto", 1)
    assert (engine.name, engine.reason) == ("onnxruntime", "openvino is not installed; cuda is not installed")


def sessions_with_cuda(monkeypatch: pytest.MonkeyPatch, providers: list[str]) -> list[Any]:
    """ONNX Runtime that says it has CUDA and gives sessions on `providers`. The list takes what it is asked for."""
    asked: list[Any] = []
    session_of = ort.InferenceSession

    def session(graph: bytes, options: ort.SessionOptions, providers: list[Any]) -> ort.InferenceSession:
        asked.append((providers, options.use_deterministic_compute))
        opened = session_of(graph, options, providers=[CPU])
        opened.get_providers = lambda: running
        return opened

    running = providers
    monkeypatch.setattr(ort, "InferenceSession", session)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    return asked


def test_cuda_is_asked_for_exact_and_repeatable_sums(
    monkeypatch: pytest.MonkeyPatch, graph: MemberGraph, toy: ToyBundle
) -> None:
    asked = sessions_with_cuda(monkeypatch, [CUDA, CPU])
    run, engine = choose(graph, "cuda", 1)
    assert engine.name == "cuda" and run(toy.images, None).shape == (len(toy.images), len(LABELS))
    (usual, exact) = asked
    assert usual == ([CPU], False)
    assert exact[1] and exact[0][0][0] == CUDA and exact[0][0][1]["use_tf32"] == "0" and exact[0][1] == CPU


def test_a_session_that_went_on_without_cuda_is_refused(monkeypatch: pytest.MonkeyPatch, graph: MemberGraph) -> None:
    sessions_with_cuda(monkeypatch, [CPU])
    with pytest.raises(BundleError, match=r"engine cuda .* could not start CUDA"):
        choose(graph, "cuda", 1)
