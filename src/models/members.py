"""The network for a config, and networks of one form with different weights, evaluated on a batch in one pass."""

import copy
from collections.abc import Callable, Sequence
from pkgutil import resolve_name
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from src.config import GraphConfig, NetworkConfig


def make_network(
    config: NetworkConfig, graph: GraphConfig, element_vectors: Tensor, avg_n_neighbors: float, statistics: Tensor | None = None
) -> nn.Module:
    """Return an untrained network: the class `Name` in src/models/name.py for a NameConfig.

    element_vectors: (N_ELEMENTS, n_features). statistics: of global features, see Standardise.
    """
    extra = {} if statistics is None else {"statistics": statistics}  # only NequIP takes them
    network = resolve_name(f"src.models.{config.name.lower()}:{config.name}")  # torch-geometric takes seconds to import
    return network(config, graph, element_vectors, avg_n_neighbors, **extra)


class MemberNetworks(nn.Module):
    """Several networks as one. The parameters of `network` are those of all members, (n_members, ...); buffers are shared.

    They are evaluated at once (torch.vmap) or, on a CPU, one after another if the network sets `members_in_turn`: operations on
    all edges of a batch outgrow the cache if they run for several members at once.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.network = copy.deepcopy(networks[0])
        for p, *own in zip(self.network.parameters(), *(network.parameters() for network in networks), strict=True):
            p.data = torch.stack([one.detach() for one in own])

    def forward(self, batch: Any) -> Tensor:
        """Return the predictions of the members, (n_members, n_crystals)."""
        parameters = dict(self.network.named_parameters())
        on_cpu = next(iter(parameters.values())).device.type == "cpu"
        if on_cpu and self.network.members_in_turn:
            each = zip(*(p.unbind() for p in parameters.values()), strict=True)
            every = [dict(zip(parameters, own, strict=True)) for own in each]
            return torch.stack([functional_call(self.network, own, (batch,)) for own in every])
        return torch.vmap(lambda own: functional_call(self.network, own, (batch,)))(parameters)


def make_members(make: Callable[[], nn.Module], seeds: Sequence[int]) -> nn.Module:
    """Return untrained networks as one, each made after torch is given its seed; for a single seed the network itself."""
    networks = []
    for seed in seeds:
        torch.manual_seed(seed)
        networks.append(make())
    return together(networks)


def together(networks: Sequence[nn.Module]) -> nn.Module:
    """Return several networks as one model with copies of their weights; a single network is its own."""
    return MemberNetworks(networks) if len(networks) > 1 else networks[0]


def holder(model: nn.Module) -> nn.Module:
    """Return the network whose weights are named as in a single network."""
    return model.network if isinstance(model, MemberNetworks) else model


def count_members(model: nn.Module) -> int:
    """Return the number of networks in a model."""
    return len(next(model.parameters())) if isinstance(model, MemberNetworks) else 1


def separate(model: nn.Module) -> list[nn.Module]:
    """Return the networks of a model, with copies of their weights if there are several."""
    if not isinstance(model, MemberNetworks):
        return [model]
    networks = [copy.deepcopy(model.network) for _ in range(count_members(model))]
    for m, network in enumerate(networks):
        for p in network.parameters():
            p.data = p.data[m].clone()
    return networks
