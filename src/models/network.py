"""The network for each type of config; a network maps a graph batch to one number per crystal."""

from pkgutil import resolve_name

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
    statistics: Tensor | None = None,
) -> nn.Module:
    """Return an untrained network. element_vectors: (N_ELEMENTS, n_features). statistics: of global features, see Standardise."""
    extra = {} if statistics is None else {"statistics": statistics}  # only NequIP takes them
    return resolve_name(NETWORKS[type(config)])(config, graph, element_vectors, avg_n_neighbors, **extra)
