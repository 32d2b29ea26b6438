"""CrystalGraph: a crystal as a network sees it, reduced by its symmetry.

Five levels: orbits (one representative atom each), atoms, edges, lengths, triplets (none unless angles are asked
for, see triplets.py). Node features live on the representatives; atoms appear only as sources of edges, where the features of
their representative are rotated to them.

Why this is exact (energy E of a crystal with space group G; D the representation of an operation on features): features obey
h[g j] = D(g) h[j]. If the stabiliser of a centre i maps edges into i onto each other, their messages differ only by D. So we sum
one edge of each such set, times the size of the set, and average the result over the stabiliser. This average is linear,
commutes with every linear layer and gate, and is the identity for scalars. It is taken when features are next rotated, by
the matrix

    rotation[j] = mean over all operations g that map the representative onto j of D(g)

Crystals are symmetric only within a tolerance; the graph is that of the symmetrised crystal (see symmetry.py).
In a graph without symmetry the matrix is the identity, and each atom is its own orbit.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Generic, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from src.config import GraphConfig
from src.data.crystal import N_ELEMENTS, Crystal
from src.graphs.harmonics import harmonics_of_degree
from src.graphs.neighbors import find_edges, largest_unit, merge_equivalent, relative_to_radii
from src.graphs.symmetry import cartesian_rotations, find_symmetry, identity, symmetrize
from src.graphs.triplets import find_triplets

LENGTH_DECIMALS = 5  # lengths of one crystal that agree to these decimals (Angstrom) count as one
Array = TypeVar("Array")


@dataclass(eq=False)
class GraphFields(Generic[Array]):
    """The arrays of a graph, or the tensors of a batch of graphs. The annotations name the level of each, and what it numbers.

    orbit_z: (n_orbits,), atomic number; 0 of a mixed site, whose species are listed one by one in
    mixture_orbit_index, mixture_z, mixture_share: (n_species,), the orbit, the atomic number, and its share of the site's atoms.
    orbit_weight: (n_orbits,), share of the cell's atoms that the orbit holds; sums to one in each crystal. A site that is half
        vacant counts as half an atom, as does each edge from it, so that a site whose occupancy falls to zero leaves no trace.
    atom_orbit_index: (n_atoms,), orbit of each atom.
    atom_occupancy: (n_atoms,), number of atoms on its site: 1, or less if the site is vacant in some of the cells.
    atom_rotation: (n_atoms, sum of (2l+1)^2 for l = 1 ... l_max), the matrices of the module's docstring, row by row, l
        ascending.
    edge_src_index: (n_edges,), atom.
    edge_dst_index: (n_edges,), orbit; ascending.
    edge_vec: (n_edges, 3), Angstrom, from the centre to its neighbour; relative to radii if the config says so, like all lengths.
    edge_multiplicity: (n_edges,), number of edges that it represents, times the occupancy of the neighbour's site.
    edge_length_index: (n_edges,), its entry in `length`.
    length: (n_lengths,), Angstrom, the distinct lengths.
    triplet_src_index, triplet_dst_index: (n_triplets,), edges k -> j and j -> i, both no longer than r_angle.
    triplet_cos: (n_triplets,), cosine of the angle at j; 1 if k is i.
    triplet_multiplicity: (n_triplets,), number of k of one edge j -> i that it represents.
    """

    orbit_z: Annotated[Array, "orbit"]
    orbit_weight: Annotated[Array, "orbit"]
    mixture_orbit_index: Annotated[Array, "mixture", "orbit"]
    mixture_z: Annotated[Array, "mixture"]
    mixture_share: Annotated[Array, "mixture"]
    atom_orbit_index: Annotated[Array, "atom", "orbit"]
    atom_occupancy: Annotated[Array, "atom"]
    atom_rotation: Annotated[Array, "atom"]
    edge_src_index: Annotated[Array, "edge", "atom"]
    edge_dst_index: Annotated[Array, "edge", "orbit"]
    edge_vec: Annotated[Array, "edge"]
    edge_multiplicity: Annotated[Array, "edge"]
    edge_length_index: Annotated[Array, "edge", "length"]
    length: Annotated[Array, "length"]
    triplet_src_index: Annotated[Array, "triplet", "edge"]
    triplet_dst_index: Annotated[Array, "triplet", "edge"]
    triplet_cos: Annotated[Array, "triplet"]
    triplet_multiplicity: Annotated[Array, "triplet"]


# field -> its level, and the level whose members its values number
LEVELS: dict[str, str] = {field.name: get_args(field.type)[1] for field in fields(GraphFields)}
INDEX_OF: dict[str, str] = {field.name: get_args(field.type)[2] for field in fields(GraphFields) if len(get_args(field.type)) > 2}


class CrystalGraph(GraphFields[NDArray]):
    """The graph of one crystal."""


def build_graph(crystal: Crystal, config: GraphConfig, reduce: bool = True) -> CrystalGraph:
    """Return the graph of a crystal in double precision, reduced by its space group.

    reduce: False for the full graph, with which tests compare the reduced one.
    """
    symmetry = find_symmetry(crystal) if reduce else identity(crystal.n_atoms)
    if reduce:
        crystal = symmetrize(crystal, symmetry)
    representatives, atom_orbit = np.unique(symmetry.representative, return_inverse=True)
    exponent, occupancy = config.radius_exponent, crystal.occupancy
    every_edge = find_edges(crystal, representatives, config.r_max * largest_unit(crystal, exponent))
    if exponent:
        every_edge = relative_to_radii(every_edge, crystal, exponent, config.r_max)
    edges, stand_in = merge_equivalent(every_edge, symmetry)
    lengths = np.linalg.norm(edges.vec, axis=1)
    _, first, length_index = np.unique(np.round(lengths, LENGTH_DECIMALS), return_index=True, return_inverse=True)
    rotations = cartesian_rotations(crystal.lattice, symmetry.frac_rotation)
    sender, receiver, cos, n_alike = find_triplets(every_edge, edges, stand_in, symmetry, rotations, config.r_angle)
    number = crystal.atomic_numbers[representatives]
    mixed = np.flatnonzero(number >= N_ELEMENTS)
    amounts = crystal.mixtures[number[mixed] - N_ELEMENTS]  # (n_mixed, N_ELEMENTS)
    row, z = np.nonzero(amounts)
    return CrystalGraph(
        orbit_z=np.where(number < N_ELEMENTS, number, 0),
        orbit_weight=np.bincount(atom_orbit, occupancy) / occupancy.sum(),
        mixture_orbit_index=mixed[row],
        mixture_z=z,
        mixture_share=(amounts / amounts.sum(axis=1, keepdims=True))[row, z],
        atom_orbit_index=atom_orbit,
        atom_occupancy=occupancy,
        atom_rotation=_mean_rotations(rotations, symmetry.image[:, representatives], crystal.n_atoms, config.l_max),
        edge_src_index=edges.src,
        edge_dst_index=np.searchsorted(representatives, edges.dst),
        edge_vec=edges.vec,
        edge_multiplicity=edges.multiplicity * occupancy[edges.src],
        edge_length_index=length_index,
        length=lengths[first],
        triplet_src_index=sender,
        triplet_dst_index=receiver,
        triplet_cos=cos,
        triplet_multiplicity=n_alike * occupancy[edges.src[sender]],
    )


def formula_graph(crystal: Crystal) -> CrystalGraph:
    """Return the graph of the elements of a crystal or formula, ascending by atomic number.

    Each element is an orbit with one atom, whatever its amount in the formula, and its weight is its share of all atoms. Edges
    come from every other element; a single element has an edge to itself. All edges have length zero.
    """
    z = np.flatnonzero(crystal.element_counts)
    n, counts = len(z), crystal.element_counts[z]
    dst, src = np.nonzero(~np.eye(n, dtype=bool)) if n > 1 else (np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))
    none = np.zeros(0, dtype=np.int64)
    return CrystalGraph(
        orbit_z=z,
        orbit_weight=counts / counts.sum(),
        mixture_orbit_index=none,
        mixture_z=none,
        mixture_share=np.zeros(0),
        atom_orbit_index=np.arange(n),
        atom_occupancy=np.ones(n),
        atom_rotation=np.zeros((n, 0)),
        edge_src_index=src,
        edge_dst_index=dst,
        edge_vec=np.zeros((len(src), 3)),
        edge_multiplicity=np.ones(len(src)),
        edge_length_index=np.zeros(len(src), dtype=np.int64),
        length=np.zeros(1),
        triplet_src_index=none,
        triplet_dst_index=none,
        triplet_cos=np.zeros(0),
        triplet_multiplicity=np.zeros(0),
    )


def wigner_d(rotation: NDArray[np.float64], l: int) -> NDArray[np.float64]:
    """Return D of spherical harmonics of degree l, Y(R x) = D(R) Y(x), in e3nn's basis, (n, 2l+1, 2l+1).

    rotation: (n, 3, 3), proper or improper; an inversion gives (-1)^l.
    """
    if l == 1:
        return rotation
    points = np.random.default_rng(0).normal(size=(4 * l + 2, 3))
    before = harmonics_of_degree(l, points)  # (n_points, 2l+1)
    after = harmonics_of_degree(l, points @ rotation.transpose(0, 2, 1))  # (n, n_points, 2l+1)
    return (np.linalg.pinv(before) @ after).transpose(0, 2, 1)


def _mean_rotations(rotation: NDArray[np.float64], image: NDArray[np.int64], n_atoms: int, l_max: int) -> NDArray[np.float64]:
    """Return `atom_rotation`. image: (n_ops, n_orbits), the atom onto which each operation maps a representative."""
    d = [wigner_d(rotation, l).reshape(len(rotation), -1) for l in range(1, l_max + 1)]
    flat = np.concatenate(d, axis=1) if d else np.zeros((len(rotation), 0))
    total = np.zeros((n_atoms, flat.shape[1]))
    for atoms in image.T:
        np.add.at(total, atoms, flat)
    return total / np.bincount(image.ravel(), minlength=n_atoms)[:, None]
