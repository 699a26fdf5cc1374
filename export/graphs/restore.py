"""From a bundle back to PyTorch: the recipe's network with the tensors of a member's gradient graph."""

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from export.graphs.packing import unpack
from export.training.recipe import Recipe
from models.folding import freeze
from models.integer import IntegerConv2d, IntegerLinear
from models.precision import Precision
from runtime.bundle import Bundle
from runtime.errors import BundleError
from runtime.manifest import Member


def restore(recipe: Recipe, bundle: Bundle, member: Member) -> nn.Sequential:
    """The frozen network of `member`, of a bundle that was read with `gradients=True` and made by `recipe`.

    Raises BundleError if the graph lacks a tensor of the recipe's network, or has it in another shape.
    """
    if member.gradient_file is None:
        raise BundleError(f"{bundle.folder}: member {member.name} has no gradient graph to restore it from")
    network = freeze(recipe.build(Precision(member.precision.weights, member.precision.activations)))
    graph = onnx.load_from_string(bundle.graphs[member.gradient_file]).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for path, layer in network.named_modules():
        _fill(layer, f"{path}.", stored, f"{bundle.folder / member.gradient_file}")
    return network


def _fill(layer: nn.Module, prefix: str, stored: Mapping[str, onnx.TensorProto], where: str) -> None:
    """Put what is stored under the layer's own names into its tensors."""
    own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    for name, tensor in own:
        if prefix + name not in stored:
            raise BundleError(f"{where}: expected a tensor {prefix}{name}, there is none")
        values = numpy_helper.to_array(stored[prefix + name])
        if values.shape != tuple(tensor.shape):
            raise BundleError(f"{where}: {prefix}{name}: expected shape {tuple(tensor.shape)}, got {values.shape}")
        if name == "weight" and isinstance(layer, IntegerConv2d | IntegerLinear):
            values = unpack(values, layer.weight_bits, layer.grid)
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(values.astype(np.float64)))
