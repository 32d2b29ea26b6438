"""A network for each kind of config: graph batch -> one number for each crystal."""

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

# config -> module and class; imported when asked for: torch-geometric takes seconds to import, and NequIP does without
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
    global_statistics: Tensor | None = None,
) -> nn.Module:
    """element_vectors: (N_ELEMENTS, n_features), by atomic number. The others: of the training fold, as in nequip.py."""
    module, name = NETWORKS[type(config)]
    network = getattr(import_module(f"src.models.{module}"), name)
    extra = {} if global_statistics is None else {"global_statistics": global_statistics}
    return network(config, graph, element_vectors, avg_n_neighbors, **extra)
