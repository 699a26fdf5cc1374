"""Networks for inference: batch norm folded into the layer before it, quantized layers with fixed weights."""

import torch
from torch import nn

from models.batch_norm import BatchNorm, affine
from models.dorefa import QuantConv2d, QuantConvAvgPool2d, QuantLinear
from models.learned import LearnedAvgPool2d, LearnedConv2d, LearnedDequantize, LearnedLinear, LearnedResidual
from models.residual import Residual

Product = nn.Conv2d | nn.Linear


def freeze(network: nn.Sequential) -> nn.Sequential:
    """The network for inference, in eval mode: the same function (but for the rounding of folded batch norms).

    Quantized layers have their weights fixed to levels; float ones are shared, or copied where a batch norm is folded.
    """
    return fold_batch_norm(nn.Sequential(*(layer for each in network for layer in _frozen(each)))).eval()


def _frozen(layer: nn.Module) -> list[nn.Module]:
    if isinstance(layer, QuantConvAvgPool2d):
        return list(layer.frozen())
    if isinstance(
        layer,
        QuantConv2d
        | QuantLinear
        | LearnedConv2d
        | LearnedLinear
        | LearnedResidual
        | LearnedDequantize
        | LearnedAvgPool2d,
    ):
        return [layer.frozen()]
    return [layer]


def fold_batch_norm(network: nn.Sequential) -> nn.Sequential:
    """The network with every batch norm, by its running statistics, folded into the layer before it.

    Raises TypeError for a batch norm behind anything else.
    """
    layers: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, BatchNorm):
            before = layers[-1] if layers else None
            if not isinstance(before, nn.Conv2d | nn.Linear):
                raise TypeError(f"expected a convolution or linear layer before {layer}, got {before}")
            layers[-1] = _with_norm(before, layer)
        elif isinstance(layer, Residual):
            layers.append(Residual(fold_batch_norm(layer.branch), fold_batch_norm(layer.shortcut)))
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def _with_norm(layer: Product, norm: BatchNorm) -> Product:
    """gamma (W x + b - mean) / sqrt(variance + eps) + beta as one layer, computed in float64."""
    with torch.no_grad():
        gain, offset = affine(norm)
        folded = _like(layer)
        folded.weight.copy_(layer.weight.double() * gain.view(-1, *[1] * (layer.weight.dim() - 1)))
        assert folded.bias is not None
        folded.bias.copy_(offset if layer.bias is None else layer.bias.double() * gain + offset)
    return folded


def _like(layer: Product) -> Product:
    """A new layer of the same shape, with a bias."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, layer.out_features)
    return nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        groups=layer.groups,
    )
