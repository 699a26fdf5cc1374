"""What one answer costs: multiply-accumulates, and these times the bits of both factors."""

from typing import NamedTuple

from torch import nn

from export.graphs.geometry import window_of
from export.graphs.graph import Shape
from models.integer import IntegerAvgPool2d, IntegerConv2d, IntegerLinear, IntegerResidual
from models.precision import FLOAT_BITS
from models.residual import Residual


class Work(NamedTuple):
    """A layer's multiply-accumulates for one image, and the bits of its weights and of what comes in."""

    multiply_accumulates: int
    weight_bits: int
    in_bits: int


def multiply_accumulates(network: nn.Sequential, image_shape: Shape) -> int:
    """Multiply-accumulates of a frozen network for one image of (C, H, W); pools, sums and activations not counted."""
    return sum(work.multiply_accumulates for work in _work(network, image_shape)[0])


def bit_operations(network: nn.Sequential, image_shape: Shape) -> int:
    """Multiply-accumulates times weight bits times activation bits, summed over the layers; 32 bits for floats."""
    return sum(work.multiply_accumulates * work.weight_bits * work.in_bits for work in _work(network, image_shape)[0])


def _work(network: nn.Sequential, shape: Shape) -> tuple[list[Work], Shape]:
    """Of each layer with weights, and the shape that the network gives for one of `shape`."""
    total = []
    for layer in network:
        work, shape = _of_layer(layer, shape)
        total += work
    return total, shape


def _of_layer(layer: nn.Module, shape: Shape) -> tuple[list[Work], Shape]:
    match layer:
        case nn.Conv2d() | IntegerConv2d():
            out = (layer.weight.shape[0], *window_of(layer).counts(shape))
            return [_product(layer, out[1] * out[2])], out
        case nn.Linear() | IntegerLinear():
            return [_product(layer, 1)], (layer.weight.shape[0],)
        case nn.MaxPool2d() | nn.AvgPool2d() | IntegerAvgPool2d():
            return [], (shape[0], *window_of(layer).counts(shape))
        case Residual() | IntegerResidual():
            (branch, out), (shortcut, _) = _work(layer.branch, shape), _work(layer.shortcut, shape)
            return branch + shortcut, out
    return [], shape


def _product(layer: nn.Conv2d | nn.Linear | IntegerConv2d | IntegerLinear, places: int) -> Work:
    """Each weight meets one value at each of the output's places."""
    count = layer.weight.numel() * places
    if isinstance(layer, IntegerConv2d | IntegerLinear):
        return Work(count, layer.weight_bits, layer.in_bits)
    return Work(count, FLOAT_BITS, FLOAT_BITS)
