"""Choice between the compiled implementations (fused.py, fused_maps.py) and the references (tensor_product.py, radial.py)."""

import torch
from torch import Tensor

from src.graphs.batch import GraphBatch
from src.models import fused, fused_maps
from src.models.radial import reference_interpolate
from src.models.tensor_product import Features, Path, reference, reference_mix


def mix(x: Tensor, mixing: Tensor, element_index: Tensor, twice: bool) -> Tensor:
    """Compute `reference_mix`, with the fused implementation if it applies. twice: second derivatives will be needed."""
    if _fused_applies(x) and not twice:
        return fused_maps.mix(x, mixing, element_index)
    return reference_mix(x, mixing, element_index)


def interpolate(table: Tensor, first: Tensor, weight: Tensor) -> Tensor:
    """Compute `reference_interpolate`, with the fused implementation if it applies."""
    if _fused_applies(table):
        return fused_maps.interpolate(table, first, weight)
    return reference_interpolate(table, first, weight)


def _fused_applies(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def convolve(
    features: Features, weights: Tensor, edge_sh: Tensor, length_index: Tensor, batch: GraphBatch, paths: tuple[Path, ...]
) -> Features:
    """Compute `reference`, with the fused implementation if it applies: CPU, float32, no derivatives w.r.t. the edge vectors.

    Always runs in the precision of `edge_sh`: autocast lowers the precision of linear layers, not of sums over edges.
    """
    features, weights = [x.to(edge_sh.dtype) for x in features], weights.to(edge_sh.dtype)
    with torch.autocast(edge_sh.device.type, enabled=False):
        if _fused_applies(weights) and not edge_sh.requires_grad:
            return fused.convolve(features, weights, edge_sh, length_index, batch, paths)
        return reference(features, weights, edge_sh, length_index, batch, paths)
