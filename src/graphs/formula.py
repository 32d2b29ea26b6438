"""The graph of a formula: its elements, each beside every other; no positions, so no lengths and no angles."""

import numpy as np

from src.data.crystal import Crystal
from src.graphs.graph import CrystalGraph


def formula_graph(crystal: Crystal) -> CrystalGraph:
    """Return the graph of the elements of a crystal or formula, ascending by atomic number.

    Each element is an orbit with one atom, whatever the formula's numbers are, and its weight is its share of all atoms. An edge
    comes from every other element, or from the only one to itself; all edges have the length zero.
    """
    z, counts = np.unique(crystal.atomic_numbers, return_counts=True)
    n = len(z)
    dst, src = np.nonzero(~np.eye(n, dtype=bool)) if n > 1 else (np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))
    none = np.zeros(0, dtype=np.int64)
    return CrystalGraph(
        orbit_z=z,
        orbit_weight=counts / counts.sum(),
        atom_orbit_index=np.arange(n),
        atom_rotation=np.zeros((n, 0)),
        edge_src_index=src,
        edge_dst_index=dst,
        edge_vec=np.zeros((len(src), 3)),
        edge_multiplicity=np.ones(len(src)),
        edge_length_index=np.zeros(len(src), dtype=np.int64),
        length=np.zeros(1),
        point_group_mean=np.eye(9).reshape(1, 81),
        triplet_src_index=none,
        triplet_dst_index=none,
        triplet_cos=np.zeros(0),
        triplet_multiplicity=np.zeros(0),
    )
