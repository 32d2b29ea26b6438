"""The network for each type of config; a network maps a graph batch to one number per crystal."""

from pkgutil import resolve_name

import torch
from torch import Tensor, nn

from src.config import (
    AlignnConfig,
    CgcnnConfig,
    EgnnConfig,
    GraphConfig,
    MegnetConfig,
    NequipConfig,
    NetworkConfig,
    RoostConfig,
    SchnetConfig,
)
from src.models.standardise import NO_STATISTICS, InputStatistics

# config -> module and class; imported on demand: torch-geometric takes seconds to import, and NequIP does not need it
NETWORKS: dict[type, str] = {
    NequipConfig: "src.models.nequip:Nequip",
    EgnnConfig: "src.models.egnn:Egnn",
    CgcnnConfig: "src.models.cgcnn:Cgcnn",
    SchnetConfig: "src.models.schnet:Schnet",
    MegnetConfig: "src.models.megnet:Megnet",
    AlignnConfig: "src.models.alignn:Alignn",
    RoostConfig: "src.models.roost:Roost",
}


def make_network(
    config: NetworkConfig,
    graph: GraphConfig,
    element_vectors: Tensor,
    avg_n_neighbors: float,
    statistics: InputStatistics = NO_STATISTICS,
) -> nn.Module:
    """Return an untrained network. element_vectors: (N_ELEMENTS, n_features). The statistics are those of the training fold."""
    extra = {"statistics": statistics} if any(x is not None for x in statistics) else {}  # only NequIP takes them
    return resolve_name(NETWORKS[type(config)])(config, graph, element_vectors, avg_n_neighbors, **extra)


def compile_network(network: nn.Module) -> None:
    """Compile the forward pass of a network in place, except for what numba has compiled.

    `torch.compiler.disable` does not decorate these functions: it imports torch._dynamo, for which every prediction would wait.
    """
    from src.models import fused, fused_mix  # numba takes a while to import

    for module, name in (fused, "convolve"), (fused, "make_edges"), (fused_mix, "mix"):
        setattr(module, name, torch.compiler.disable(getattr(module, name)))
    network.compile(dynamic=True)
