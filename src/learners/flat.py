"""All parameters of a network in one buffer, so that optimiser, clipping and averaging are one operation each."""

import warnings
from typing import cast

import torch
from torch import Tensor, nn

from src.models.members import count_members


class FlatParameters(nn.Module):
    """One parameter that holds those of a network, which become views of it; so do their gradients.

    Those of several members are (n_members, n_parameters). Optimisers that treat each number on its own (Lion, AdamW) do the
    same to it as to the parameters one by one. Gradients must be set to zero in place, not to None.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        n = count_members(network)
        own_dims = 0 if n == 1 else 1  # a member's parameters follow the dimension of members
        if n > 1:  # views of rows are not contiguous, for which torch has this warning; it also says that it is no error
            warnings.filterwarnings("ignore", "grad and param do not obey the gradient layout contract")
        self.values = nn.Parameter(torch.cat([p.detach().flatten(own_dims) for p in network.parameters()], dim=-1))
        self.values.grad = torch.zeros_like(self.values)
        self.bind(network)

    def bind(self, network: nn.Module) -> None:
        """Make the parameters of a network of the same form views of these values."""
        start, n = 0, count_members(network)
        for p in network.parameters():
            place = slice(start, start + p.numel() // n)
            p.data = self.values.data[..., place].view_as(p)
            p.grad = None if self.values.grad is None else self.values.grad[..., place].view_as(p)
            start = place.stop

    def clip(self, largest: float) -> Tensor:
        """Scale the gradient of each member to a norm of at most `largest`; return the norms before, (n_members,)."""
        grad = cast(Tensor, self.values.grad)  # there is one from the beginning
        norm = torch.linalg.vector_norm(grad, dim=-1, keepdim=True)
        grad.mul_((largest / (norm + 1e-6)).clamp(max=1))  # as torch.nn.utils.clip_grad_norm_ does
        return norm.view(-1)
