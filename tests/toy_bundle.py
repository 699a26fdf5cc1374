"""A real bundle of toys on disk: 1 x 8 x 8 images of four quadrants, members of a few hundred weights."""

import json
import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.graphs.gradient_graph import gradient_graph
from export.graphs.integer_graph import member_graph
from models.dorefa import QuantConv2d
from models.folding import freeze
from models.integer import QuantizeInput
from runtime.bundle import MANIFEST
from runtime.manifest import Manifest, Member, Precision
from tests.toys import FP32, W2A4, Array, toy_entry, toy_manifest

LABELS = ("north-west", "north-east", "south-west", "south-east")
SHAPE = (1, 8, 8)


@dataclass(frozen=True)
class ToyBundle:
    """The bundle's folder, its manifest, the networks it was made from, and images [N, 1, 8, 8] with their classes."""

    folder: Path
    manifest: Manifest
    networks: list[nn.Sequential]
    images: Array
    classes: NDArray[np.int64]


def quadrants(count: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """Images [count, 1, 8, 8] of noise, and the class of each: its brightest quadrant."""
    images = np.random.default_rng(seed).integers(0, 130, (count, *SHAPE))
    classes = np.arange(count) % len(LABELS)
    for image, label in zip(images[:, 0], classes, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 70
    return images.astype(np.float32) / np.float32(255), classes


def toy_network(precision: Precision) -> nn.Sequential:
    """Image [N, 1, 8, 8] to logits [N, 4]; 444 weights."""
    head = [nn.ReLU(), nn.Flatten(), nn.Linear(6, len(LABELS), bias=False)]
    if precision.is_float:
        first, last = nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False), nn.Conv2d(4, 6, 4, bias=False)
        return nn.Sequential(first, nn.ReLU(), last, *head)
    w, a = precision.weights, precision.activations
    return nn.Sequential(
        QuantizeInput(a),
        QuantConv2d(1, 4, 3, stride=2, padding=1, weight_bits=w, in_bits=a, out_bits=a),
        QuantConv2d(4, 6, 4, weight_bits=w, in_bits=a, out_bits=None),
        *head,
    )


def trained_network(precision: Precision, seed: int) -> nn.Sequential:
    """A frozen `toy_network` that tells quadrants apart."""
    torch.manual_seed(seed)
    network = toy_network(precision)
    pixels, classes = (torch.from_numpy(array) for array in quadrants(128, seed=100))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        loss: Tensor = functional.cross_entropy(network(pixels), classes)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return freeze(network)


def write_toy_bundle(folder: Path) -> ToyBundle:
    """Write a bundle of two w2a4 members and a full-precision one to `folder`, which is made."""
    folder.mkdir(parents=True)
    parts = [("w2a4-a", W2A4, 0.8), ("w2a4-b", W2A4, 1.5), ("fp32", FP32, 2.0)]
    networks = [trained_network(precision, seed) for seed, (_, precision, _) in enumerate(parts)]
    entries = [
        _write_member(folder, network, name, precision, temperature)
        for network, (name, precision, temperature) in zip(networks, parts, strict=True)
    ]
    manifest = toy_manifest(entries, "fp32", SHAPE, LABELS, folder.name)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    return ToyBundle(folder, manifest, networks, *quadrants(24, seed=200))


def rewrite(folder: Path, **fields: object) -> None:
    """Change fields of a manifest."""
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def neighbour(folder: Path, name: str) -> Path:
    """A copy of a bundle under another name, beside it."""
    copy = shutil.copytree(folder, folder.parent / name)
    rewrite(copy, name=name)
    return copy


def flip_a_bit(file: Path) -> None:
    """Damage a file as a disk might: one bit in its middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _write_member(folder: Path, network: nn.Sequential, name: str, precision: Precision, temperature: float) -> Member:
    fields: dict[str, str | float] = {"temperature": temperature}
    for key, file, graph in (
        ("", f"{name}.onnx", member_graph(network, SHAPE, name)),
        ("gradient_", f"{name}.gradient.onnx", gradient_graph(network, SHAPE, len(LABELS), name)),
    ):
        onnx.save(graph, folder / file)
        fields |= {f"{key}file": file, f"{key}sha256": sha256((folder / file).read_bytes()).hexdigest()}
    return toy_entry(name, precision, **fields)
