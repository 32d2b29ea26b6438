"""NequIP: E(3)-equivariant message passing on crystals (Batzner et al., Nat. Commun. 13, 2453 (2022),
doi:10.1038/s41467-022-29939-5).

Irreps are Cx0e + Cx1o + Cx2e + ... up to l_max, with C channels each. Features are a list over l of (2l+1, n_orbits, C) blocks,
so that a linear layer is one matrix product per l and the convolution reads contiguous channels. Everything between two
convolutions is computed on the representatives of the orbits only.
"""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from src.config import GraphConfig, NequipConfig
from src.graphs.batch import GraphBatch
from src.graphs.harmonics import harmonics
from src.models.blocks import CrystalNetwork, Readout, Standardise, dense
from src.models.convolution import Convolution, DenseConvolution
from src.models.radial import Knots, RadialNetwork, RadialValues, each_row, radial_basis, unit_linear
from src.models.tensor_product import Features, find_paths, paths_into

SILU_SCALE = 1.6791767923989418  # gives SiLU of a normal variable a second moment of one, as e3nn's normalize2mom samples it


class EquivariantLinear(nn.Module):
    """Linear layer on the channels of each degree; its weights include the normalisation 1 / sqrt(n_in) of o3.Linear."""

    def __init__(self, n_in: list[int], n_out: list[int]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(a, b) / math.sqrt(a) for a, b in zip(n_in, n_out, strict=True))

    def forward(self, features: Features) -> Features:
        """Return the features with mixed channels, for each l a (2l+1, n_orbits, n_out[l])."""
        return [x @ w for x, w in zip(features, self.weights, strict=True)]


class SelfConnection(nn.Module):
    """Tensor product of node features with invariant attributes of each atom's element (o3.FullyConnectedTensorProduct).

    A batch has far fewer elements than atoms, so the mixing matrix of each element is computed first and then applied to its
    atoms. The weights include the normalisation 1 / sqrt(n_in * n_attributes).
    """

    def __init__(self, n_in: int, n_attributes: int, n_out: list[int]) -> None:
        super().__init__()
        self.n_in, scale = n_in, 1 / math.sqrt(n_in * n_attributes)
        self.weights = nn.ParameterList(torch.randn(n_attributes, n_in * m) * scale for m in n_out)

    def forward(self, features: Features, attributes: Tensor, element_index: Tensor, convolution: Convolution) -> Features:
        """Return the mixed features, for each l a (2l+1, n_orbits, n_out[l]).

        attributes: (n_elements, n_attributes). element_index: (n_orbits,), row of `attributes` for each orbit.
        """
        mixing = [(attributes @ weight).view(len(attributes), self.n_in, -1) for weight in self.weights]
        return [convolution.mix(x, own, element_index) for x, own in zip(features, mixing, strict=True)]


def gated(features: Features, n_channels: int) -> Features:
    """Return SiLU of the scalars, and the features of l > 0 times their gates, SiLU of further scalars (e3nn.nn.Gate).

    features[0]: scalars, then gates for each l > 0, n_channels each: (1, n_orbits, ...).
    """
    scalars, *gates = (nn.functional.silu(features[0]) * SILU_SCALE).split(n_channels, dim=-1)
    return [scalars, *(x * gate for x, gate in zip(features[1:], gates, strict=True))]


class Interaction(nn.Module):
    """Interaction layer (fig. 1d): linear, convolution, linear, addition of the self-connection, gate."""

    def __init__(self, config: NequipConfig, l_in: int, l_edge: int, l_out: int) -> None:
        super().__init__()
        n = config.n_channels
        paths = find_paths(l_in, l_edge, l_out)
        self.dense = DenseConvolution(paths)
        n_out = [n * (1 + l_out)] + [n] * l_out  # scalars and gates, then the gated features
        self.linear_in = EquivariantLinear([n] * (l_in + 1), [n] * (l_in + 1))
        self.radial = RadialNetwork(config.n_bessel, config.radial_hidden, len(paths) * n)
        self.linear_out = EquivariantLinear([n * len(paths_into(paths, l)) for l in range(l_out + 1)], n_out)
        self.n_shared = n_shared = min(l_in, l_out) + 1
        self.self_connection: nn.Module
        if config.n_element_attributes:
            self.self_connection = SelfConnection(n, config.n_element_attributes, n_out[:n_shared])
        else:
            self.self_connection = EquivariantLinear([n] * n_shared, n_out[:n_shared])

    def forward(
        self,
        features: Features,
        attributes: tuple[Tensor, Tensor] | None,
        radial: Callable[[RadialNetwork], RadialValues],
        convolution: Convolution,
    ) -> Features:
        """Return the updated features of the representatives.

        attributes: element attributes and each orbit's row of them; None if the self-connection is the same for all elements.
        radial: returns the output of a radial network at the distinct lengths. convolution: over the edges of the batch.
        """
        shared = features[: self.n_shared]
        kept = None if attributes is None else self.self_connection(shared, *attributes, convolution)
        if (edges := convolution.edges_of_layer(features[0].shape[-1])) is not None:
            from src.models.fused_layer import interact  # as in convolution.py

            weights = list(self.linear_in.weights), list(self.linear_out.weights)
            own = list(cast(EquivariantLinear, self.self_connection).weights) if kept is None else kept
            return interact(features, radial(self.radial), edges, self.dense.paths, weights, own, kept is not None, SILU_SCALE)
        messages = convolution(self.linear_in(features), radial(self.radial), self.dense)
        out = self.linear_out(messages)
        kept = self.self_connection(shared) if kept is None else kept
        out[: self.n_shared] = [x + y for x, y in zip(out[: self.n_shared], kept, strict=True)]
        return gated(out, features[0].shape[-1])


class Nequip(CrystalNetwork):
    """NequIP, by default the mean over the atoms.

    statistics: of the features of crystals that join the head's input; None: there are none.
    """

    def __init__(
        self,
        config: NequipConfig,
        graph: GraphConfig,
        element_vectors: Tensor,
        avg_n_neighbors: float,
        statistics: Tensor | None = None,
    ) -> None:
        super().__init__(element_vectors)
        n, l_max = config.n_channels, graph.l_max
        self.message_scale = avg_n_neighbors**-0.5
        self.l_max = l_max
        self.global_features = Standardise(statistics)
        self.embedding = unit_linear(element_vectors.shape[1], n)
        n_attributes = config.n_element_attributes
        self.attributes = unit_linear(element_vectors.shape[1], n_attributes) if n_attributes else None
        self.basis = partial(radial_basis, r_max=graph.r_max, n_bessel=config.n_bessel)
        self.knots = Knots(graph.r_max, config.radial_knots) if config.radial_knots else None
        self.basis_on_knots: Tensor | None
        on_knots = None if self.knots is None else self.basis(self.knots.distance)
        self.register_buffer("basis_on_knots", on_knots, persistent=False)
        degrees = [0] + [l_max] * (config.n_layers - 1) + [0]
        self.layers = nn.ModuleList(Interaction(config, l_in, l_max, l_out) for l_in, l_out in itertools.pairwise(degrees))
        self.gather_layers = config.gather_layers
        n_seen = n * (config.n_layers + 1 if config.gather_layers else 1) + self.global_features.n_features
        self.head = dense(n_seen, *config.head_hidden, 1)
        self.readout = Readout(config.readout, n_seen)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Return one unitless prediction per crystal, (n_crystals,)."""
        attributes = None
        if self.attributes is not None:
            vectors_of_elements, element_index = self.element_vectors, batch.orbit_z
            if len(batch.mixture_z):
                element_index = torch.arange(batch.n_orbits, device=element_index.device)
                vectors_of_elements = self.vectors(batch)
            elif element_index.device.type == "cpu":  # a GPU would wait for their number
                elements, element_index = element_index.unique(return_inverse=True)
                vectors_of_elements = vectors_of_elements[elements]
            attributes = self.attributes(vectors_of_elements), element_index  # (n_elements, n_element_attributes)
        lengths, length_index = edge_lengths(batch)
        radial = self.radial_at(lengths)
        edge_sh = edge_harmonics(self.l_max, batch.edge_vec)
        edge_sh = edge_sh * (batch.edge_multiplicity * self.message_scale)[:, None]  # (n_edges, (l_max + 1)^2)
        convolution = Convolution(edge_sh, length_index, batch)
        features = [self.embedding(self.vectors(batch))[None]]
        scalars = [features[0][0]]
        for layer in self.layers:
            features = layer(features, attributes, radial, convolution)
            scalars.append(features[0][0])  # (n_orbits, n_channels)
        scalars = scalars if self.gather_layers else scalars[-1:]
        of_crystals = [x[batch.orbit_batch] for x in self.global_features(batch.global_features)]
        seen = torch.cat([*scalars, *of_crystals], dim=-1)  # (n_orbits, n_seen)
        return self.readout(self.head(seen), seen, batch).squeeze(-1)

    def radial_at(self, lengths: Tensor) -> Callable[[RadialNetwork], RadialValues]:
        """Return what evaluates a radial network at the lengths, (n_lengths,): at each, or between knots if there are any.

        Derivatives w.r.t. the lengths are those of the exact network.
        """
        if self.knots is None or self.basis_on_knots is None or lengths.requires_grad:
            basis, places = self.basis(lengths), each_row(lengths)
        else:
            first, weight = self.knots.locate(lengths)
            basis, places = self.basis_on_knots, (first, weight)
            if len(first) and first.device.type == "cpu":  # a GPU would wait for the number
                shortest = int(first.min())  # nothing is closer: fewer knots
                basis, places = basis[shortest:], (first - shortest, weight)
        return lambda network: RadialValues(network(basis), *places)  # basis: (n_rows, n_bessel)


def edge_harmonics(l_max: int, edge_vec: Tensor) -> Tensor:
    """Return the spherical harmonics of the edge vectors, (n_edges, (l_max + 1)^2)."""
    return torch.stack(harmonics(l_max, *nn.functional.normalize(edge_vec, dim=-1).unbind(-1)), dim=-1)


def edge_lengths(batch: GraphBatch) -> tuple[Tensor, Tensor]:
    """Return the distinct lengths and the index of each edge's length; one length per edge if derivatives are needed."""
    if batch.edge_vec.requires_grad:
        return batch.edge_vec.norm(dim=-1), torch.arange(len(batch.edge_vec), device=batch.edge_vec.device)
    return batch.length, batch.edge_length_index
