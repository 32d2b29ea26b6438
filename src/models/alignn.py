"""ALIGNN: message passing on bonds and on bond angles (Choudhary, DeCost, npj Comput. Mater. 7, 185 (2021),
doi:10.1038/s41524-021-00650-1).

The layers follow the paper: edge-gated convolutions on the crystal graph and on its line graph. The differences:
- All atoms within r_max are neighbours and all bonds within r_angle enter the line graph, as in the authors' newer package
  (alignn 2026.8.11); both fade with a smooth cutoff. The paper's twelve nearest neighbours depend on the choice of the cell if
  several are equidistant.
- The gates of an atom are normalised by their sum plus one, not plus 1e-6, so that the output stays continuous when the last
  neighbour leaves.
- Layer norm, as in that package, replaces batch norm, whose statistics would differ between reduced and full graphs.
- The last convolution on bonds does not update angles, and the last one on atoms does not update bonds: nothing reads them.
- The element vectors are those of the experiment.
"""

from torch import Tensor, nn

from src.config import AlignnConfig, GraphConfig
from src.graphs.batch import GraphBatch, sum_at
from src.models.blocks import CrystalNetwork, edge_weights, gaussians, orbit_edges
from src.models.radial import polynomial_cutoff

N_LENGTH_GAUSSIANS, N_ANGLE_GAUSSIANS = 80, 40  # that expand bond lengths from 0 to r_max, and cosines
N_EMBEDDING = 64  # hidden width of the embeddings of bonds and angles


def normed(n_in: int, n_out: int) -> nn.Sequential:
    """Return a linear layer followed by layer norm and SiLU."""
    return nn.Sequential(nn.Linear(n_in, n_out), nn.LayerNorm(n_out), nn.SiLU())


class EdgeGatedConv(nn.Module):
    """Edge-gated graph convolution (eqs. 1 to 3; Dwivedi et al., arXiv:2003.00982) with weighted edges.

    updates_edges: False if no later layer reads the edge features.
    """

    def __init__(self, n: int, updates_edges: bool) -> None:
        super().__init__()
        self.gate_src, self.gate_dst, self.gate_edge = (nn.Linear(n, n) for _ in range(3))
        self.update_src, self.update_dst = (nn.Linear(n, n) for _ in range(2))
        self.norm_nodes = nn.LayerNorm(n)
        self.norm_edges = nn.LayerNorm(n) if updates_edges else None

    def forward(self, x: Tensor, e: Tensor, edge_index: tuple[Tensor, Tensor] | Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the updated x, (n_nodes, n), and e, (n_edges, n). edge_index: source, destination. weight: (n_edges, 1)."""
        src, dst = edge_index
        message = self.gate_src(x).index_select(0, src) + self.gate_dst(x).index_select(0, dst) + self.gate_edge(e)
        gate = message.sigmoid() * weight
        gates = sum_at(dst, gate, len(x))
        total = sum_at(dst, gate * self.update_src(x).index_select(0, src), len(x))
        x = x + nn.functional.silu(self.norm_nodes(self.update_dst(x) + total / (gates + 1)))
        return x, e if self.norm_edges is None else e + nn.functional.silu(self.norm_edges(message))


class Alignn(CrystalNetwork):
    """ALIGNN, the mean over the atoms.

    avg_n_neighbors: unused, because the gates normalise the sums.
    """

    members_in_turn = True  # see members.py

    def __init__(self, config: AlignnConfig, graph: GraphConfig, element_vectors: Tensor, avg_n_neighbors: float) -> None:
        super().__init__(element_vectors)
        if graph.r_angle == 0:
            raise ValueError("graph.r_angle=0: ALIGNN needs bond angles; set it to 3.5 Angstrom, for example")
        n, m = config.n_channels, N_EMBEDDING
        self.r_max, self.r_angle = graph.r_max, graph.r_angle
        # exponents as in the authors' code: one over the spacing of the centres
        self.lengths = gaussians(0, graph.r_max, N_LENGTH_GAUSSIANS, (N_LENGTH_GAUSSIANS - 1) / graph.r_max)
        self.cosines = gaussians(-1, 1, N_ANGLE_GAUSSIANS, (N_ANGLE_GAUSSIANS - 1) / 2)
        self.atom_embedding = normed(element_vectors.shape[1], n)
        self.edge_embedding = nn.Sequential(normed(N_LENGTH_GAUSSIANS, m), normed(m, n))
        self.angle_embedding = nn.Sequential(normed(N_ANGLE_GAUSSIANS, m), normed(m, n))
        n_bonds, n_atoms = config.n_alignn_layers, config.n_alignn_layers + config.n_gcn_layers
        self.on_bonds = nn.ModuleList(EdgeGatedConv(n, updates_edges=i < n_bonds - 1) for i in range(n_bonds))
        self.on_atoms = nn.ModuleList(EdgeGatedConv(n, updates_edges=i < n_atoms - 1) for i in range(n_atoms))
        self.head = nn.Linear(n, 1)
        if config.zero_head:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Return one unitless prediction per crystal, (n_crystals,)."""
        edge_index, triplet_index = orbit_edges(batch), (batch.triplet_src_index, batch.triplet_dst_index)
        weight = edge_weights(batch, self.r_max)[:, None]
        fade = polynomial_cutoff(batch.length / self.r_angle)[batch.edge_length_index]  # (n_edges,)
        triplet_weight = (fade[batch.triplet_src_index] * fade[batch.triplet_dst_index] * batch.triplet_multiplicity)[:, None]
        atoms = self.atom_embedding(self.vectors(batch))  # (n_orbits, n)
        bonds = self.edge_embedding(self.lengths(batch.length))[batch.edge_length_index]  # (n_edges, n)
        angles = self.angle_embedding(self.cosines(batch.triplet_cos))  # (n_triplets, n)
        for i, layer in enumerate(self.on_atoms):
            atoms, bonds = layer(atoms, bonds, edge_index, weight)
            if i < len(self.on_bonds):
                bonds, angles = self.on_bonds[i](bonds, angles, triplet_index, triplet_weight)
        return batch.mean_over_atoms(self.head(atoms)).squeeze(-1)
