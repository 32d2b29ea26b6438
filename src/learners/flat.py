"""All parameters of a network in one buffer, so that optimiser, clipping and averaging are one operation each."""

import torch
from torch import nn


class FlatParameters(nn.Module):
    """One parameter that holds those of a network, which become views of it; so do their gradients.

    Optimisers that treat each number on its own (Lion, AdamW) do the same to it as to the parameters one by one. Gradients
    must be set to zero in place, not to None.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.cat([p.detach().flatten() for p in network.parameters()]))
        self.values.grad = torch.zeros_like(self.values)
        self.bind(network)

    def bind(self, network: nn.Module) -> None:
        """Make the parameters of a network of the same form views of these values."""
        start = 0
        for p in network.parameters():
            place = slice(start, start + p.numel())
            p.data = self.values.data[place].view_as(p)
            p.grad = None if self.values.grad is None else self.values.grad[place].view_as(p)
            start = place.stop
