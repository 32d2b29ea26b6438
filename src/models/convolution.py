"""Choice between the compiled implementations (fused.py, fused_maps.py) and the references (tensor_product.py)."""

import torch
from torch import Tensor

from src.graphs.batch import GraphBatch
from src.models import fused, fused_maps
from src.models.radial import RadialValues
from src.models.tensor_product import Features, Path, reference, reference_mix


def mix(x: Tensor, mixing: Tensor, element_index: Tensor, twice: bool) -> Tensor:
    """Compute `reference_mix`, with the fused implementation if it applies. twice: second derivatives will be needed."""
    if _fused_applies(x) and not twice:
        return fused_maps.mix(x, mixing, element_index)
    return reference_mix(x, mixing, element_index)


def _fused_applies(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def convolve(
    features: Features, radial: RadialValues, edge_sh: Tensor, length_index: Tensor, batch: GraphBatch, paths: tuple[Path, ...]
) -> Features:
    """Compute `reference`, with the fused implementation if it applies: CPU, float32, no derivatives w.r.t. the edge vectors.

    Always runs in the precision of `edge_sh`: autocast lowers the precision of linear layers, not of sums over edges.
    """
    features, radial = [x.to(edge_sh.dtype) for x in features], radial._replace(rows=radial.rows.to(edge_sh.dtype))
    with torch.autocast(edge_sh.device.type, enabled=False):
        if _fused_applies(radial.rows) and not edge_sh.requires_grad:
            return fused.convolve(features, radial, edge_sh, length_index, batch, paths)
        return reference(features, radial.at_lengths(), edge_sh, length_index, batch, paths)
