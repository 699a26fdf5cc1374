"""Members as one network, for as long as they learn together."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Together(nn.Module):
    """Members side by side: images [N, C, H, W] in, the mean of their log probabilities [N, K] out.

    Its cross entropy is what an attacker climbs who knows that all of them vote. The served vote is another function,
    of their classes alone, which has no gradient.
    """

    def __init__(self, members: Iterable[nn.Sequential]) -> None:
        super().__init__()
        for place, member in enumerate(members):
            self.add_module(str(place), member)

    @property
    def members(self) -> list[nn.Sequential]:
        return [member for member in self.children() if isinstance(member, nn.Sequential)]

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([functional.log_softmax(member(images), dim=1) for member in self.members]).mean(dim=0)
