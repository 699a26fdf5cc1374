"""The networks, each built from a precision."""

from torch import nn

from models.layers import QuantConv2d, QuantizeInput
from models.precision import Precision


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
