"""From a bundle back to PyTorch: the recipe's network with the weights of a member's gradient graph."""

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch import nn

from export.recipes import Recipe
from models.layers import QuantConv2d, freeze
from models.precision import Precision
from models.quantizers import top_level
from runtime.bundle import Bundle
from runtime.errors import BundleError
from runtime.manifest import Member


def restore(recipe: Recipe, bundle: Bundle, member: Member) -> nn.Sequential:
    """The frozen network of `member`, of a bundle that was read with `gradients=True` and made by `recipe`.

    Raises BundleError if the graph's weights do not fit the recipe's network, or are of 8 bits.
    """
    precision = Precision(member.precision.weights, member.precision.activations)
    network = recipe.network(precision)
    if member.gradient_file is None:
        raise BundleError(f"{bundle.folder}: member {member.name} has no gradient graph to restore it from")
    stored = _stored_weights(onnx.load_from_string(bundle.graphs[member.gradient_file]))
    for name, layer in network.named_children():
        if not isinstance(layer, QuantConv2d | nn.Conv2d | nn.Linear):
            continue
        shape = tuple(layer.weight.shape)
        found = next((index for index, weight in enumerate(stored) if weight.shape == shape), None)
        if found is None:
            raise BundleError(f"{bundle.folder / member.gradient_file}: expected weights of {shape} for layer {name}")
        with torch.no_grad():
            layer.weight.copy_(_trainable(stored.pop(found), layer, precision))
    return freeze(network)


def _stored_weights(graph: onnx.ModelProto) -> list[NDArray[np.float32]]:
    """The weight tensors of a graph in the order of its layers; of packed ones the q of levels 2q - n."""
    wanted = (TensorProto.FLOAT, TensorProto.UINT2, TensorProto.UINT4, TensorProto.INT8)
    initializers = [tensor for tensor in graph.graph.initializer if tensor.data_type in wanted and len(tensor.dims) > 1]
    return [numpy_helper.to_array(tensor).astype(np.float32) for tensor in initializers]


def _trainable(stored: NDArray[np.float32], layer: nn.Module, precision: Precision) -> torch.Tensor:
    """Weights that the layer's quantizer turns into the stored levels again, or the stored float weights themselves."""
    if not isinstance(layer, QuantConv2d):
        return torch.from_numpy(stored)
    if layer.weight_bits == 8:
        raise BundleError("8-bit weights cannot be restored: their scales are folded into the graph's multipliers")
    n = top_level(layer.weight_bits)
    levels = 2 * stored - n if layer.weight_bits <= 4 else stored
    # DoReFa looks at tanh W over its largest: any common factor below 1 will do.
    return torch.atanh(torch.from_numpy(levels).double() / np.abs(levels).max() * 0.9).float()
