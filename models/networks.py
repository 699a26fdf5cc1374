"""The networks, each built from a precision."""

from functools import partial

import torch
from torch import nn

from models.dorefa import FineConv2d, QuantConv2d, QuantConvAvgPool2d, QuantLinear
from models.integer import QuantizeInput
from models.precision import Precision
from models.quantization import EdgeBits, quantized
from models.residual import Residual

EDGES = EdgeBits()


def mnist_conv(precision: Precision) -> nn.Sequential:
    """MNISTconv of the EMPIR paper: image [N, 1, 28, 28] in [0, 1] to logits [N, 10]; 709,888 weights, 8.59 M MACs.

    Conv 8x8/2 64, conv 6x6/2 128, conv 5x5 128, each with ReLU, and a fully connected layer that stays in full
    precision; no bias anywhere. TensorFlow's SAME padding of the first layer is 3 on every side here.
    """
    head = [nn.Flatten(), nn.Linear(128, 10, bias=False)]
    if precision.is_float:
        return nn.Sequential(
            nn.Conv2d(1, 64, 8, stride=2, padding=3, bias=False),
            nn.ReLU(),
            nn.Conv2d(64, 128, 6, stride=2, bias=False),
            nn.ReLU(),
            nn.Conv2d(128, 128, 5, bias=False),
            nn.ReLU(),
            *head,
        )
    w, a = precision.weights, precision.activations
    return nn.Sequential(
        QuantizeInput(a),
        QuantConv2d(1, 64, 8, stride=2, padding=3, weight_bits=w, in_bits=a, out_bits=a),
        QuantConv2d(64, 128, 6, stride=2, weight_bits=w, in_bits=a, out_bits=a),
        QuantConv2d(128, 128, 5, weight_bits=w, in_bits=a, out_bits=None),
        nn.ReLU(),
        *head,
    )


def cifar_conv(precision: Precision) -> nn.Sequential:
    """CIFARconv of the EMPIR paper: image [N, 3, 32, 32] in [0, 1] to logits [N, 10]; 116,704 weights, 10.76 M MACs.

    Conv 5x5 32, max pool 3/2; conv 5x5 32, average pool 3/2; conv 5x5 64, average pool 3/2, each convolution with
    SAME padding and ReLU; fully connected 64 and 10, in full precision; no bias anywhere. Quantized, a max pool works
    on levels (it commutes with rounding); what QuantConvAvgPool2d does is the one deviation from the paper.
    """
    head = [nn.Flatten(), nn.Linear(576, 64, bias=False), nn.Linear(64, 10, bias=False)]
    if precision.is_float:
        return nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=2, bias=False),
            nn.MaxPool2d(3, 2),
            nn.ReLU(),
            nn.Conv2d(32, 32, 5, padding=2, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(3, 2),
            nn.Conv2d(32, 64, 5, padding=2, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(3, 2),
            *head,
        )
    w, a = precision.weights, precision.activations
    pooled = partial(QuantConvAvgPool2d, padding=2, pool=3, pool_stride=2, weight_bits=w, in_bits=a)
    return nn.Sequential(
        QuantizeInput(a),
        QuantConv2d(3, 32, 5, padding=2, weight_bits=w, in_bits=a, out_bits=a),
        nn.MaxPool2d(3, 2),
        pooled(32, 32, 5, out_bits=a),
        pooled(32, 64, 5, out_bits=None),
        *head,
    )


def alex_net(precision: Precision, classes: int = 1000) -> nn.Sequential:
    """AlexNet of the EMPIR paper (DoReFa's): image [N, 3, 224, 224] to logits [N, classes]; 60.96 M weights,
    1.94 G MACs.

    Conv 12x12/4 96; conv 5x5 256 in 2 groups, pool; conv 3x3 384, pool; conv 3x3 384 in 2 groups; conv 3x3 256 in 2
    groups, pool; fully connected 4096, 4096 and 1000; batch norm behind all but the first and the last, which stay in
    full precision: the first as FineConv2d, on 8-bit pixels. Pools are 3/2, padded as TensorFlow's SAME is, the last
    one not at all.
    """
    pools = [nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(3, 2, padding=1), nn.MaxPool2d(3, 2)]
    last = nn.Linear(4096, classes, bias=False)
    if precision.is_float:
        relu = nn.ReLU()
        conv = partial(nn.Conv2d, bias=False)
        return nn.Sequential(
            conv(3, 96, 12, stride=4), relu,
            conv(96, 256, 5, padding=2, groups=2), nn.BatchNorm2d(256), relu, pools[0],
            conv(256, 384, 3, padding=1), nn.BatchNorm2d(384), relu, pools[1],
            conv(384, 384, 3, padding=1, groups=2), nn.BatchNorm2d(384), relu,
            conv(384, 256, 3, padding=1, groups=2), nn.BatchNorm2d(256), relu, pools[2],
            nn.Flatten(),
            nn.Linear(9216, 4096, bias=False), nn.BatchNorm1d(4096), relu,
            nn.Linear(4096, 4096, bias=False), nn.BatchNorm1d(4096), relu,
            last,
        )  # fmt: skip
    w, a = precision.weights, precision.activations
    quant_conv = partial(QuantConv2d, weight_bits=w, in_bits=a, out_bits=a, batch_norm=True)
    full = partial(QuantLinear, weight_bits=w, in_bits=a, batch_norm=True)
    return nn.Sequential(
        QuantizeInput(8), FineConv2d(3, 96, 12, stride=4, out_bits=a),
        quant_conv(96, 256, 5, padding=2, groups=2), pools[0],
        quant_conv(256, 384, 3, padding=1), pools[1],
        quant_conv(384, 384, 3, padding=1, groups=2),
        quant_conv(384, 256, 3, padding=1, groups=2), pools[2],
        nn.Flatten(),
        full(9216, 4096, out_bits=a),
        full(4096, 4096, out_bits=None), nn.Hardtanh(0, 1),
        last,
    )  # fmt: skip


def small_cnn(precision: Precision, *, edges: EdgeBits = EDGES) -> nn.Sequential:
    """The network of TRADES for MNIST (Zhang et al., arXiv 1901.08573): image [N, 1, 28, 28] to logits [N, 10]; 0.31 M
    parameters, 9.9 M MACs.

    Two convolutions 3x3 32, max pool; two of 64, max pool; fully connected 200, 200 and 10; ReLU and biases. Quantized:
    learned scales, first and last weights in 8 bits or as `edges` has it.
    """
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10),
    )  # fmt: skip
    return _at(network, precision, (1, 28, 28), edges)


def resnet20(precision: Precision, *, edges: EdgeBits = EDGES) -> nn.Sequential:
    """ResNet-20 for CIFAR-10 (He et al., arXiv 1512.03385, section 4.2): 0.27 M parameters, 41 M MACs.

    Three stages of three blocks with 16, 32 and 64 channels; shortcuts between stages are 1x1 convolutions. Quantized:
    learned scales, the first weights in 8 bits, the layer behind the average pool in float, or as `edges` has it.
    """
    return resnet(precision, widths=(16, 32, 64), blocks=3, edges=edges)


def resnet18(precision: Precision, *, edges: EdgeBits = EDGES) -> nn.Sequential:
    """ResNet-18 as it is used on CIFAR-10: stages of two blocks, 64 to 512 channels; 11.2 M parameters."""
    return resnet(precision, widths=(64, 128, 256, 512), blocks=2, edges=edges)


def wrn_16_4(precision: Precision, *, edges: EdgeBits = EDGES) -> nn.Sequential:
    """WRN-16-4 (Zagoruyko and Komodakis, arXiv 1605.07146): stages of two blocks, 64, 128 and 256 channels; 2.75 M
    parameters.

    With batch norm and ReLU behind the convolutions, where they fold away, not in front of them.
    """
    return resnet(precision, widths=(64, 128, 256), blocks=2, stem=16, edges=edges)


def photo_net(
    precision: Precision,
    *,
    image_shape: tuple[int, int, int],
    classes: int,
    widths: tuple[int, ...],
    edges: EdgeBits = EDGES,
) -> nn.Sequential:
    """A small residual network for images of any size: image [N, C, H, W] of `image_shape` to logits [N, classes].

    One block for each of `widths`, as in resnet20; images of more than 48 pixels are halved by the first convolution,
    and those of more than 96 by a max pool behind it too, so that the first stage works on 24 to 48 pixels.
    """
    side = max(image_shape[1:])
    return resnet(
        precision,
        widths=widths,
        blocks=1,
        classes=classes,
        image_shape=image_shape,
        halvings=(side > 48) + (side > 96),
        edges=edges,
    )


def resnet(
    precision: Precision,
    *,
    widths: tuple[int, ...],
    blocks: int,
    stem: int | None = None,
    classes: int = 10,
    image_shape: tuple[int, int, int] = (3, 32, 32),
    halvings: int = 0,
    edges: EdgeBits = EDGES,
) -> nn.Sequential:
    """A residual network (He et al., arXiv 1512.03385): image [N, C, H, W] of `image_shape` to logits [N, classes].

    A convolution 3x3 to `stem` channels, or to the first of `widths`; a stage of `blocks` blocks for each width, all
    but the first halving the image; a global average pool, a linear layer. `halvings`: of the image before the stages.
    Quantized, the first weights have 8 bits and the last layer stays in float, unless `edges` says otherwise.
    """
    channels = stem or widths[0]
    first = nn.Conv2d(image_shape[0], channels, 3, stride=2 if halvings else 1, padding=1, bias=False)
    layers: list[nn.Module] = [first, nn.BatchNorm2d(channels), nn.ReLU()]
    layers += [nn.MaxPool2d(2)] * (halvings > 1)
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers.append(_block(channels, width, stride=2 if stage and not block else 1))
            channels = width
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
    return _at(network, precision, image_shape, edges)


def _block(channels: int, filters: int, stride: int) -> Residual:
    branch = nn.Sequential(
        nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
        nn.Conv2d(filters, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters),
    )  # fmt: skip
    if stride == 1 and channels == filters:
        return Residual(branch)
    return Residual(branch, nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)))


def _at(network: nn.Sequential, precision: Precision, image_shape: tuple[int, ...], edges: EdgeBits) -> nn.Sequential:
    return network if precision.is_float else quantized(network, precision, torch.zeros(1, *image_shape), edges)
