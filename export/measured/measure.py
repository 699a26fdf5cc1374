"""Everything that is measured of a bundle's members on this machine."""

from collections.abc import Sequence

from torch import nn

from export.measured.int8_copy import int8_copy
from export.measured.layer_times import layer_times
from runtime.bundle import Bundle
from runtime.manifest import Measured
from runtime.origin import hardware


def measured(networks: Sequence[nn.Sequential], bundle: Bundle) -> Measured:
    """Times of the layers of the frozen networks of a bundle's members, and the cost of an int8 copy where there is no
    int8 member."""
    spec = bundle.manifest.input
    shape = (spec.channels, spec.height, spec.width)
    times = (
        layer_times(network, shape, member.name)
        for network, member in zip(networks, bundle.manifest.members, strict=True)
    )
    return Measured(
        hardware=hardware(),
        layers=tuple(row for rows in times for row in rows),
        int8=int8_copy(bundle),
    )
