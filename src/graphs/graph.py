"""CrystalGraph: a crystal as a network sees it, reduced by its symmetry; and batches of graphs.

Six levels: crystals, orbits (one representative atom each), atoms, edges, lengths, triplets (none unless angles are asked
for, see triplets.py). Node features live on the representatives; atoms appear only as sources of edges, where the features of
their representative are rotated to them.

Why that is exact (energy E of a crystal with space group G; D the representation of an operation on features): features obey
h[g j] = D(g) h[j], and the edges into a centre i that its stabiliser maps onto each other bring messages that differ by D alone.
So sum one edge of each such set, times the set's size, and average the result over the stabiliser. That average is linear,
commutes with every linear layer and gate, and is the identity for scalars: it is taken where features are next rotated, by
the matrix

    rotation[j] = mean over all operations g that map the representative onto j of D(g)

Crystals are symmetric within a tolerance only; the graph is that of the symmetrised crystal (see symmetry.py).
On a graph without symmetry the matrix is the identity, and each atom is its own orbit.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from e3nn import o3
from numpy.typing import NDArray
from torch import Tensor

from src.config import GraphConfig
from src.data.crystal import Crystal
from src.graphs.neighbors import find_edges, merge_equivalent
from src.graphs.symmetry import cartesian_rotations, find_symmetry, identity, symmetrize
from src.graphs.triplets import find_triplets
from src.storage.ragged import RaggedStore

LENGTH_DECIMALS = 5  # lengths of one crystal that agree to these decimals (Angstrom) count as one
# field -> (its level, the level its values index)
LEVELS: dict[str, tuple[str, str | None]] = {
    "orbit_z": ("orbit", None),
    "orbit_weight": ("orbit", None),
    "atom_orbit_index": ("atom", "orbit"),
    "atom_rotation": ("atom", None),
    "edge_src_index": ("edge", "atom"),
    "edge_dst_index": ("edge", "orbit"),
    "edge_vec": ("edge", None),
    "edge_multiplicity": ("edge", None),
    "edge_length_index": ("edge", "length"),
    "length": ("length", None),
    "point_group_mean": ("crystal", None),
    "triplet_src_index": ("triplet", "edge"),
    "triplet_dst_index": ("triplet", "edge"),
    "triplet_cos": ("triplet", None),
    "triplet_multiplicity": ("triplet", None),
}
LEVELS_OF_FIELDS = {name: level for name, (level, _) in LEVELS.items()}


@dataclass(frozen=True, eq=False)
class CrystalGraph:
    """One crystal.

    orbit_z: (n_orbits,), atomic number.
    orbit_weight: (n_orbits,), share of the cell's atoms that the orbit holds; sums to one.
    atom_orbit_index: (n_atoms,), orbit of each atom.
    atom_rotation: (n_atoms, sum of (2l+1)^2 for l = 1 ... l_max), the matrices of the module's docstring, row by row, l
        ascending.
    edge_src_index: (n_edges,), atom.
    edge_dst_index: (n_edges,), orbit; ascending.
    edge_vec: (n_edges, 3), Angstrom, from the centre to its neighbour.
    edge_multiplicity: (n_edges,), how many edges it stands for.
    edge_length_index: (n_edges,), its entry in `length`.
    length: (n_lengths,), Angstrom, the different lengths.
    point_group_mean: (1, 81), mean over the point group of R (x) R, row by row: what it leaves of a tensor T of two indices, the
        mean of R T R^T, is the part that the symmetry allows.
    triplet_src_index, triplet_dst_index: (n_triplets,), edges k -> j and j -> i, both no longer than r_angle.
    triplet_cos: (n_triplets,), cosine of the angle at j; 1 where k is i.
    triplet_multiplicity: (n_triplets,), for how many k of one edge j -> i it stands.
    """

    orbit_z: NDArray[np.integer]
    orbit_weight: NDArray[np.floating]
    atom_orbit_index: NDArray[np.integer]
    atom_rotation: NDArray[np.floating]
    edge_src_index: NDArray[np.integer]
    edge_dst_index: NDArray[np.integer]
    edge_vec: NDArray[np.floating]
    edge_multiplicity: NDArray[np.floating]
    edge_length_index: NDArray[np.integer]
    length: NDArray[np.floating]
    point_group_mean: NDArray[np.floating]
    triplet_src_index: NDArray[np.integer]
    triplet_dst_index: NDArray[np.integer]
    triplet_cos: NDArray[np.floating]
    triplet_multiplicity: NDArray[np.floating]


def build_graph(crystal: Crystal, config: GraphConfig) -> CrystalGraph:
    """The graph of a crystal in double precision; with `config.symmetry` reduced by its space group."""
    symmetry = identity(crystal.n_atoms)
    if config.symmetry:
        symmetry = find_symmetry(crystal, config.symprec)
        crystal = symmetrize(crystal, symmetry)
    representatives, atom_orbit = np.unique(symmetry.representative, return_inverse=True)
    every_edge = find_edges(crystal, representatives, config.r_max)
    edges, stand_in = merge_equivalent(every_edge, symmetry)
    lengths = np.linalg.norm(edges.vec, axis=1)
    _, first, length_index = np.unique(np.round(lengths, LENGTH_DECIMALS), return_index=True, return_inverse=True)
    rotations = cartesian_rotations(crystal.lattice, symmetry.frac_rotation)
    triplets = find_triplets(every_edge, edges, stand_in, symmetry, rotations, config.r_angle)
    return CrystalGraph(
        orbit_z=crystal.atomic_numbers[representatives],
        orbit_weight=np.bincount(atom_orbit) / crystal.n_atoms,
        atom_orbit_index=atom_orbit,
        atom_rotation=_mean_rotations(rotations, symmetry.image[:, representatives], crystal.n_atoms, config.l_max),
        edge_src_index=edges.src,
        edge_dst_index=np.searchsorted(representatives, edges.dst),
        edge_vec=edges.vec,
        edge_multiplicity=edges.multiplicity.astype(np.float64),
        edge_length_index=length_index,
        length=lengths[first],
        point_group_mean=np.einsum("gij,gkl->ikjl", rotations, rotations).reshape(1, 81) / len(rotations),
        triplet_src_index=triplets.src,
        triplet_dst_index=triplets.dst,
        triplet_cos=triplets.cos,
        triplet_multiplicity=triplets.multiplicity.astype(np.float64),
    )


def wigner_d(rotation: NDArray[np.float64], l: int) -> NDArray[np.float64]:
    """(n, 2l+1, 2l+1): how degree-l spherical harmonics change, Y(R x) = D(R) Y(x), in e3nn's basis.

    rotation: (n, 3, 3), proper or improper; an inversion gives (-1)^l.
    """
    if l == 1:
        return rotation
    points = np.random.default_rng(0).normal(size=(4 * l + 2, 3))
    before = _harmonics(points, l)  # (n_points, 2l+1)
    after = _harmonics(points @ rotation.transpose(0, 2, 1), l)  # (n, n_points, 2l+1)
    return (np.linalg.pinv(before) @ after).transpose(0, 2, 1)


def _harmonics(points: NDArray[np.float64], l: int) -> NDArray[np.float64]:
    return o3.spherical_harmonics(l, torch.from_numpy(np.ascontiguousarray(points)), normalize=True).numpy()


def _mean_rotations(rotation: NDArray[np.float64], image: NDArray[np.int64], n_atoms: int, l_max: int) -> NDArray[np.float64]:
    """(n_atoms, K): `atom_rotation`. image: (n_ops, n_orbits), the atom each operation takes a representative to."""
    d = [wigner_d(rotation, l).reshape(len(rotation), -1) for l in range(1, l_max + 1)]
    flat = np.concatenate(d, axis=1) if d else np.zeros((len(rotation), 0))
    total = np.zeros((n_atoms, flat.shape[1]))
    for atoms in image.T:
        np.add.at(total, atoms, flat)
    return total / np.bincount(image.ravel(), minlength=n_atoms)[:, None]


def sum_at(index: Tensor, values: Tensor, n: int) -> Tensor:
    """(n, ...): sums of the rows of `values` by their `index`, in the values' own precision."""
    return values.new_zeros(n, *values.shape[1:]).index_add(0, index, values)


@dataclass(eq=False)
class GraphBatch:
    """Several graphs as one: the tensors of CrystalGraph concatenated, indices offset, and the crystal of each orbit."""

    orbit_z: Tensor
    orbit_weight: Tensor
    atom_orbit_index: Tensor
    atom_rotation: Tensor
    edge_src_index: Tensor
    edge_dst_index: Tensor
    edge_vec: Tensor
    edge_multiplicity: Tensor
    edge_length_index: Tensor
    length: Tensor
    point_group_mean: Tensor
    triplet_src_index: Tensor
    triplet_dst_index: Tensor
    triplet_cos: Tensor
    triplet_multiplicity: Tensor
    orbit_batch: Tensor  # (n_orbits,), crystal of each orbit
    n_crystals: int
    global_features: Tensor | None = None  # (n_crystals, n_features)
    atom_features: Tensor | None = None  # (n_atoms, n_features)

    @property
    def n_orbits(self) -> int:
        return len(self.orbit_z)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "GraphBatch":
        """The same batch elsewhere; dtype is of its floating-point tensors."""
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                value = value.to(device, dtype if value.is_floating_point() else None)
            moved[field.name] = value
        return GraphBatch(**moved)

    def representative_atom(self) -> Tensor:
        """(n_orbits,): the atom that each orbit's features are those of, its first."""
        atoms = torch.arange(len(self.atom_orbit_index), device=self.atom_orbit_index.device)
        first = atoms.new_full((self.n_orbits,), len(atoms))
        return first.scatter_reduce(0, self.atom_orbit_index, atoms, "amin")

    def orbit_features(self) -> Tensor | None:
        """(n_orbits, n_features): mean over the atoms of each orbit of their features; None where there are none."""
        if self.atom_features is None:
            return None
        total = self.atom_features.new_zeros(self.n_orbits, self.atom_features.shape[1])
        n_atoms = torch.bincount(self.atom_orbit_index, minlength=self.n_orbits)
        return total.index_add(0, self.atom_orbit_index, self.atom_features) / n_atoms[:, None]

    def mean_over_atoms(self, per_orbit: Tensor) -> Tensor:
        """(n_crystals, ...): mean over all atoms of each crystal of values given per orbit, (n_orbits, ...)."""
        weighted = per_orbit * self.orbit_weight.view(-1, *[1] * (per_orbit.dim() - 1))  # in the weights' precision at least
        return sum_at(self.orbit_batch, weighted, self.n_crystals)


def batch_from_store(store: RaggedStore, crystals: NDArray[np.integer]) -> GraphBatch:
    """The batch of the named crystals (numbers in the store, any order), in the store's precision."""
    counts = {level: store.counts(level, crystals) for level in dict.fromkeys(level for level, _ in LEVELS.values())}
    rows = {level: store.rows(level, crystals) for level in counts}
    starts = {level: np.cumsum(n) - n for level, n in counts.items()}
    tensors = {}
    for name, (level, target) in LEVELS.items():
        values = store.arrays[name][rows[level]]
        if target is not None:
            values = values + np.repeat(starts[target], counts[level])
        tensors[name] = torch.from_numpy(values)
    orbit_batch = torch.from_numpy(np.repeat(np.arange(len(crystals)), counts["orbit"]))
    return GraphBatch(**tensors, orbit_batch=orbit_batch, n_crystals=len(crystals))


def batch_from_graphs(graphs: list[CrystalGraph], dtype: torch.dtype = torch.float64) -> GraphBatch:
    """The batch of graphs at hand, for those who have no store."""
    store = RaggedStore.from_items(LEVELS_OF_FIELDS, [vars(graph) for graph in graphs])
    return batch_from_store(store, np.arange(len(graphs))).to("cpu", dtype)
