"""Which engine runs a member: the one asked for, or the quickest, and only if it answers as ONNX Runtime does."""

import logging
import time
from typing import assert_never

import numpy as np

from runtime.engine import Engine, EngineName, EngineSetting, Floats, MemberGraph, Run, lacks
from runtime.errors import BundleError

CANDIDATES: tuple[EngineName, ...] = ("openvino", "cuda")
TOLERANCE = 1e-3
"""By how much of the largest logit another engine's may be off."""
COMPARED = 8
"""Images that engines are compared on: half of them noise pixel by pixel, half in squares of SQUARE pixels."""
SQUARE = 4
ROUNDS = 7

log = logging.getLogger(__name__)


def choose(graph: MemberGraph, setting: EngineSetting, cores: int) -> tuple[Run, Engine]:
    """What runs the graph, for callers on at most `cores` threads.

    Raises BundleError if ONNX Runtime refuses the graph, or an engine that `setting` names cannot take its place.
    """
    usual = graph.on_onnxruntime()
    match setting:
        case "onnxruntime":
            return usual, Engine()
        case "auto":
            return _quickest(graph, usual, cores)
        case "openvino" | "cuda":
            try:
                return _agreeing(graph, setting, usual, cores), Engine(setting)
            except BundleError as error:
                raise BundleError(
                    f"{graph.where}: engine {setting} (EMPIR_ENGINE): {error}; with `auto` ONNX Runtime takes over"
                ) from error
        case _:
            assert_never(setting)


def _quickest(graph: MemberGraph, usual: Run, cores: int) -> tuple[Run, Engine]:
    """Of the engines that are installed and agree, the one that takes least time for one image."""
    runs: dict[EngineName, Run] = {"onnxruntime": usual}
    refused = []
    for name in CANDIDATES:
        if lacks(name) is not None:
            refused.append(f"{name} is not installed")
            continue
        try:
            runs[name] = _agreeing(graph, name, usual, cores)
        except BundleError as error:
            log.warning("%s: engine %s: %s", graph.where, name, error)
            refused.append(f"{name}: {error}")
    if len(runs) == 1:
        return usual, Engine(reason="; ".join(refused))
    seconds = image_seconds(runs, images_like(graph)[:1])
    best = min(seconds, key=lambda name: seconds[name])
    measured = ", ".join(f"{name} {1000 * each:.3f}" for name, each in seconds.items())
    return runs[best], Engine(best, "; ".join([f"ms an image: {measured}", *refused]))


def _agreeing(graph: MemberGraph, name: EngineName, usual: Run, cores: int) -> Run:
    """The graph on an engine. Raises BundleError, with the reason, if that cannot be or its answers are others."""
    run, images = graph.on(name, cores), images_like(graph)
    for batch in (images, images[:1]):
        try:
            found = run(batch, None)
        except Exception as error:  # of any kind: another engine, another device
            raise BundleError(f"fails on {len(batch)} images: {error}") from error
        if (difference := disagreement(usual(batch, None), found)) is not None:
            raise BundleError(f"{difference}, of {len(batch)} random images")
    return run


def disagreement(expected: Floats, found: Floats) -> str | None:
    """In what logits [N, K] are others than expected; None for the same classes, and logits within TOLERANCE."""
    if found.shape != expected.shape:
        return f"logits have shape {found.shape}, ONNX Runtime's {expected.shape}"
    if not np.isfinite(found).all():
        return "logits are not finite"
    others = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
    if others:
        return f"{others} classes differ from ONNX Runtime's"
    error, largest = np.abs(found - expected).max(), np.abs(expected).max()
    if error > TOLERANCE * largest:
        return f"logits are off by {error:.3g} from ONNX Runtime's, whose largest is {largest:.3g}"
    return None


def images_like(graph: MemberGraph) -> Floats:
    """Random images [COMPARED, C, H, W] in [0, 1], always the same."""
    channels, height, width = graph.shape
    random, half = np.random.default_rng(0), COMPARED // 2
    fine = random.random((half, *graph.shape), dtype=np.float32)
    coarse = random.random((half, channels, height // SQUARE + 1, width // SQUARE + 1), dtype=np.float32)
    squares = coarse.repeat(SQUARE, axis=2).repeat(SQUARE, axis=3)[:, :, :height, :width]
    return np.concatenate([fine, squares])


def image_seconds(runs: dict[EngineName, Run], image: Floats) -> dict[EngineName, float]:
    """The least time that each took for one image [1, C, H, W]; they take turns, so that all meet the same load."""
    taken: dict[EngineName, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run(image, None)
            taken[name].append(time.perf_counter() - start)
    return {name: min(each) for name, each in taken.items()}
