"""Choice between the implementations: compiled ones for CPUs in single precision (fused.py, fused_mix.py), and for all else plain
torch (dense.py and `reference_mix`).

The compiled ones are imported when they are used: numba takes a second to import and to load what it has compiled.
"""

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from src.graphs.batch import GraphBatch
from src.models.dense import DenseConvolution
from src.models.radial import RadialValues
from src.models.tensor_product import Features, reference_mix

if TYPE_CHECKING:
    from src.models.fused import Edges


def mix(x: Tensor, mixing: Tensor, element_index: Tensor, twice: bool) -> Tensor:
    """Compute `reference_mix`, with the fused implementation if it applies. twice: second derivatives will be needed."""
    if _fused_applies(x) and not twice:
        from src.models import fused_mix

        return fused_mix.mix(x, mixing, element_index)
    return reference_mix(x, mixing, element_index)


def _fused_applies(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


class Convolution:
    """The convolution over the edges of a batch, with the fused implementation if it applies.

    The fused one applies on a CPU in float32, unless derivatives w.r.t. the edge vectors are needed.
    """

    def __init__(self, edge_sh: Tensor, length_index: Tensor, batch: GraphBatch) -> None:
        """edge_sh: (n_edges, (l_edge_max + 1)^2), scaled. length_index: (n_edges,), number of the length of each edge."""
        self.edge_sh, self.length_index, self.batch = edge_sh, length_index, batch
        self.twice = edge_sh.requires_grad  # second derivatives will be needed
        self.edges: Edges | None = None
        if _fused_applies(edge_sh) and not self.twice:
            from src.models import fused

            self.edges = fused.make_edges(edge_sh, length_index, batch)

    def __call__(self, features: Features, radial: RadialValues, dense: DenseConvolution) -> Features:
        """Compute `tensor_product.reference` for the paths of `dense`."""
        if self.edges is not None:
            from src.models import fused

            return fused.convolve(features, radial, self.edges, dense.paths)
        return cast(Features, dense(features, radial.at_lengths(), self.edge_sh, self.length_index, self.batch))

    def edges_of_layer(self, n_channels: int) -> "Edges | None":
        """Return the edges if fused_layer.py applies to the layer, else None."""
        if self.edges is None:
            return None
        from src.models.kernels import TILE

        return self.edges if n_channels % TILE == 0 else None
