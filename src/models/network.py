"""The network for each type of config; a network maps a graph batch to one number per crystal."""

from importlib import import_module

from torch import Tensor, nn

from src.config import (
    AlignnConfig,
    CgcnnConfig,
    EgnnConfig,
    GraphConfig,
    MegnetConfig,
    NequipConfig,
    NetworkConfig,
    SchnetConfig,
)
from src.models.standardise import NO_STATISTICS, InputStatistics

# config -> module and class; imported on demand: torch-geometric takes seconds to import, and NequIP does not need it
NETWORKS: dict[type, tuple[str, str]] = {
    NequipConfig: ("nequip", "Nequip"),
    EgnnConfig: ("egnn", "Egnn"),
    CgcnnConfig: ("cgcnn", "Cgcnn"),
    SchnetConfig: ("schnet", "Schnet"),
    MegnetConfig: ("megnet", "Megnet"),
    AlignnConfig: ("alignn", "Alignn"),
}


def make_network(
    config: NetworkConfig,
    graph: GraphConfig,
    element_vectors: Tensor,
    avg_n_neighbors: float,
    statistics: InputStatistics = NO_STATISTICS,
) -> nn.Module:
    """Return an untrained network. element_vectors: (N_ELEMENTS, n_features). The statistics are those of the training fold."""
    module, name = NETWORKS[type(config)]
    network = getattr(import_module(f"src.models.{module}"), name)
    beside = {"statistics": statistics} if any(x is not None for x in statistics) else {}  # only NequIP takes them
    return network(config, graph, element_vectors, avg_n_neighbors, **beside)
