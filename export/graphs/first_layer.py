"""Fold a strided first convolution into one over more channels: the same integer sums from a faster kernel."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.integer import IntegerConv2d, QuantizeInput

MOST_CHANNELS = 16


class SpaceToDepth(nn.Module):
    """Zero padding, then each block of s x s pixels as channels: [N, C, H, W] to [N, s s C, H/s, W/s].

    Channel order as in ONNX: row in the block, column in the block, channel.
    """

    def __init__(self, padding: int, block: int) -> None:
        super().__init__()
        self.padding, self.block = padding, block

    def forward(self, image: Tensor) -> Tensor:
        padded = functional.pad(image, (self.padding,) * 4)
        n, c, h, w = padded.shape
        s = self.block
        blocks = padded.reshape(n, c, h // s, s, w // s, s)
        return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, s * s * c, h // s, w // s)


def fold_first_layer(network: nn.Sequential, image_shape: tuple[int, ...]) -> nn.Sequential:
    """The same function with stride 1 in the first layer, where that is possible and few channels come in.

    An int8 kernel over one channel spends its time on fetching single bytes. A convolution with a kernel of k x k and
    stride s, s a divisor of k, is one of k/s x k/s and stride 1 over the s x s blocks of its padded input.
    """
    layers = list(network)
    if len(layers) < 2 or not isinstance(layers[0], QuantizeInput) or not isinstance(layers[1], IntegerConv2d):
        return network
    conv = layers[1]
    filters, channels, kernel, _ = conv.weight.shape
    s = conv.stride
    fits = all((size + 2 * conv.padding) % s == 0 for size in image_shape[1:])
    if s == 1 or kernel % s or conv.groups > 1 or channels * s * s > MOST_CHANNELS or not fits:
        return network
    blocks = conv.weight.reshape(filters, channels, kernel // s, s, kernel // s, s)
    weight = blocks.permute(0, 3, 5, 1, 2, 4).reshape(filters, s * s * channels, kernel // s, kernel // s)
    folded = IntegerConv2d(
        torch.clone(weight),
        conv.multiplier,
        conv.bias,
        stride=1,
        padding=0,
        weight_bits=conv.weight_bits,
        in_bits=conv.in_bits,
        output=conv.output,
        grid=conv.grid,
    )
    return nn.Sequential(SpaceToDepth(conv.padding, s), layers[0], folded, *layers[2:]).eval()
