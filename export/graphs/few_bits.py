"""Large fully connected layers that read their weights in 2 or 4 bits: `MatMulNBits`, made exact.

One image through such a layer takes as long as its weights take to be read. The kernel quantizes the inputs again,
block by block, to 8 bits of the largest; a constant 127 in each block, which has weight 0, makes that scale 1 and the
result exact for levels to 127.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from export.graphs.graph import CONTRIB, GraphBuilder
from export.graphs.products import as_floats
from models.integer import IntegerLinear

BLOCK = 128
TOP = 127


def fits(layer: IntegerLinear, fewest_weights: int | None) -> bool:
    """Whether the layer is one of these, and has so many weights; None: no layer is."""
    if fewest_weights is None or layer.weight.numel() < fewest_weights:
        return False
    return layer.weight_bits <= 4 and layer.in_bits <= 7 and layer.sum_dtype == torch.float32


def exact_product(layer: IntegerLinear, graph: GraphBuilder, x: str) -> str:
    """The integer sums, bias included, as floats [N, O]."""
    floats, levels = as_floats(graph, x), layer.weight.numpy()
    outputs, inputs = levels.shape
    bits, blocks = 2 if layer.weight_bits <= 2 else 4, -(-inputs // (BLOCK - 1))
    # Levels 2q - n of 2 and 4 bits do not fit: they are 2 v + 1, with v in the kernel's range.
    doubled = layer.grid == "odd" and layer.weight_bits == bits
    packed = _packed((levels - np.float32(1)) / np.float32(2) if doubled else levels, bits, blocks)
    ones = graph.constant(np.ones((outputs, blocks)), np.float32)
    sums = graph.node(
        "MatMulNBits", _blocks(graph, floats, inputs, blocks), graph.parameter("weight", packed), ones, domain=CONTRIB,
        K=blocks * BLOCK, N=outputs, bits=bits, block_size=BLOCK, accuracy_level=4, shape=(outputs,),
    )  # fmt: skip
    if doubled:
        total = graph.node("ReduceSum", floats, graph.constant([1], np.int64), keepdims=1)
        sums = graph.node("Add", graph.node("Mul", sums, graph.constant(2, np.float32)), total, shape=(outputs,))
    if layer.bias is None:
        return sums
    return graph.node("Add", sums, graph.parameter("bias", layer.bias.numpy().astype(np.float32)), shape=(outputs,))


def _blocks(graph: GraphBuilder, x: str, inputs: int, blocks: int) -> str:
    """[N, I] in blocks whose last entry is TOP."""

    def to(*sizes: int) -> str:
        return graph.constant(sizes, np.int64)

    whole = graph.node("Pad", x, to(0, 0, 0, blocks * (BLOCK - 1) - inputs))
    apart = graph.node("Reshape", whole, to(-1, blocks, BLOCK - 1))
    topped = graph.node("Pad", apart, to(0, 0, 0, 0, 0, 1), graph.constant(TOP, np.float32))
    return graph.node("Reshape", topped, to(-1, blocks * BLOCK))


def _packed(values: NDArray[np.floating], bits: int, blocks: int) -> NDArray[np.uint8]:
    """Values -2^(bits-1)..2^(bits-1) - 1, [O, I], as the kernel reads them: uint8 [O, blocks, BLOCK bits / 8]."""
    zero = 1 << (bits - 1)
    whole = np.zeros((len(values), blocks * (BLOCK - 1)), np.float32)
    whole[:, : values.shape[1]] = values
    apart = np.zeros((len(values), blocks, BLOCK), np.float32)
    apart[..., :-1] = whole.reshape(len(values), blocks, BLOCK - 1)
    stored = (apart + zero).astype(np.uint8).reshape(len(values), blocks, -1, 8 // bits)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(stored << shifts, axis=-1)
    return packed
