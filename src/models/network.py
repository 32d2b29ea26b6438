"""A network for each kind of config: graph batch -> one number for each crystal."""

from torch import Tensor, nn

from src.config import EgnnConfig, GraphConfig, NequipConfig
from src.models.egnn import Egnn
from src.models.nequip import Nequip


def make_network(
    config: NequipConfig | EgnnConfig,
    graph: GraphConfig,
    element_vectors: Tensor,
    avg_n_neighbors: float,
    global_statistics: Tensor | None = None,
) -> nn.Module:
    """element_vectors: (N_ELEMENTS, n_features), by atomic number. The others: of the training fold, as in nequip.py."""
    if isinstance(config, EgnnConfig):
        return Egnn(config, graph, element_vectors, avg_n_neighbors)
    return Nequip(config, graph, element_vectors, avg_n_neighbors, global_statistics)
