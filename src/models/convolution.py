"""The convolution of tensor_product.py: compiled for CPUs in single precision (fused.py), plain torch otherwise.

Plain torch makes a few large products over all paths, on any device, with derivatives of any order: on a GPU the number of
operations decides how long a step takes, until batches hold thousands of crystals. The compiled implementations are imported
when they are used: numba takes a second to import and to load what it has compiled.
"""

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from src.graphs.batch import GraphBatch, sum_at
from src.models.radial import RadialValues
from src.models.tensor_product import Features, Path, clebsch_gordan, paths_into, reference_mix, rotate_to_atoms

if TYPE_CHECKING:
    from src.models.fused import Edges


class DenseConvolution(nn.Module):
    """The convolution for a set of paths. A row of a message is a path and a component of its output, in the order of paths."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        super().__init__()
        self.paths = paths
        rows = [(p, m) for p, path in enumerate(paths) for m in range(2 * path.l_out + 1)]
        self.n_in, self.n_edge = ((max(getattr(path, name) for path in paths) + 1) ** 2 for name in ("l_in", "l_edge"))
        couplings = np.zeros((self.n_edge, len(rows), self.n_in))
        for r, (p, m) in enumerate(rows):
            l_in, l_edge = paths[p].l_in, paths[p].l_edge
            block = slice(l_edge**2, (l_edge + 1) ** 2), r, slice(l_in**2, (l_in + 1) ** 2)
            couplings[block] = clebsch_gordan(paths[p])[:, :, m].T
        self.couplings: Tensor  # (n_edge, n_rows * n_in): of harmonics, with the rows and components of the input
        self.register_buffer("couplings", torch.tensor(couplings).flatten(1), persistent=False)
        self.path_of_row: Tensor  # (n_rows,)
        self.register_buffer("path_of_row", torch.tensor([p for p, _ in rows]), persistent=False)

    def forward(self, features: Features, weights: Tensor, edge_sh: Tensor, length_index: Tensor, batch: GraphBatch) -> Features:
        """Return the sums of messages at the representatives; for each l a (2 l + 1, n_orbits, n_paths(l) * n_channels).

        features: of the representatives. weights: (n_lengths, n_paths * n_channels), the radial network's output. edge_sh:
        (n_edges, (l_edge_max + 1)^2), spherical harmonics times multiplicity. length_index: (n_edges,), row of `weights`.
        """
        n_channels = features[0].shape[-1]
        on_atoms = torch.cat(rotate_to_atoms(features, batch)).transpose(0, 1)  # (n_atoms, n_in, n_channels)
        couplings = self.couplings.to(edge_sh.dtype)
        coupled = (edge_sh[:, : self.n_edge] @ couplings).unflatten(1, (-1, self.n_in))  # (n_edges, n_rows, n_in)
        message = torch.bmm(coupled, on_atoms[batch.edge_src_index])  # (n_edges, n_rows, n_channels)
        weights = weights.view(len(weights), len(self.paths), n_channels)[length_index]  # (n_edges, n_paths, n_channels)
        total = sum_at(batch.edge_dst_index, message * weights[:, self.path_of_row], batch.n_orbits)
        out, start = [], 0
        for l in range(self.paths[-1].l_out + 1):
            n_paths, n = len(paths_into(self.paths, l)), 2 * l + 1
            block = total[:, start : start + n_paths * n].unflatten(1, (n_paths, n))  # (n_orbits, n_paths, n, n_channels)
            out.append(block.permute(2, 0, 1, 3).flatten(2))
            start += n_paths * n
        return out


class Convolution:
    """The convolution over the edges of a batch and the mixing by element, with the fused implementations if they apply.

    They apply on a CPU in float32, unless derivatives w.r.t. the edge vectors, and so second derivatives, are needed.
    """

    def __init__(self, edge_sh: Tensor, length_index: Tensor, batch: GraphBatch) -> None:
        """edge_sh: (n_edges, (l_edge_max + 1)^2), scaled. length_index: (n_edges,), number of the length of each edge."""
        self.edge_sh, self.length_index, self.batch = edge_sh, length_index, batch
        self.edges: Edges | None = None
        if edge_sh.device.type == "cpu" and edge_sh.dtype == torch.float32 and not edge_sh.requires_grad:
            from src.models import fused

            self.edges = fused.make_edges(edge_sh, length_index, batch)

    def __call__(self, features: Features, radial: RadialValues, dense: DenseConvolution) -> Features:
        """Compute what `dense` does."""
        if self.edges is not None:
            from src.models import fused

            return fused.convolve(features, radial, self.edges, dense.paths)
        return cast(Features, dense(features, radial.at_lengths(), self.edge_sh, self.length_index, self.batch))

    def mix(self, x: Tensor, mixing: Tensor, element_index: Tensor) -> Tensor:
        """Compute `reference_mix`."""
        if self.edges is None:
            return reference_mix(x, mixing, element_index)
        from src.models import fused

        return fused.mix(x, mixing, element_index)

    def edges_of_layer(self, n_channels: int) -> "Edges | None":
        """Return the edges if fused_layer.py applies to the layer, else None."""
        if self.edges is None:
            return None
        from src.models.kernels import TILE

        return self.edges if n_channels % TILE == 0 else None
