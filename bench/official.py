"""The official nequip package applied to our crystals: its model, its batches, and its weights in our network."""

import math

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state
from torch import Tensor, nn

from src.config import GraphConfig, NequipConfig
from src.data.crystal import N_ELEMENTS, Crystal
from src.graphs.neighbors import find_edges
from src.models.nequip import Interaction, Nequip
from src.models.radial import CUTOFF_EXPONENT

ENERGY = AtomicDataDict.TOTAL_ENERGY_KEY


def build_official(config: NequipConfig, graph: GraphConfig, avg_n_neighbors: float, mode: str, dtype: str) -> nn.Module:
    """Return nequip's energy model with our hyperparameters: natural parity, and a learned type embedding for self-connections.

    mode: `eager` or `compile`. Hidden layers of the radial networks must have equal widths, and so must those of the head.
    """
    set_global_state()
    return NequIPGNNModel(
        seed=0,
        model_dtype=dtype,
        compile_mode=mode,
        type_names=[f"Z{z}" for z in range(N_ELEMENTS)],
        r_max=graph.r_max,
        num_layers=config.n_layers,
        l_max=graph.l_max,
        parity=False,
        num_features=config.n_channels,
        radial_mlp_depth=len(config.radial_hidden),
        radial_mlp_width=config.radial_hidden[0],
        readout_mlp_hidden_layers_depth=len(config.head_hidden),
        readout_mlp_hidden_layers_width=config.head_hidden[0],
        num_bessels=config.n_bessel,
        polynomial_cutoff_p=int(CUTOFF_EXPONENT),
        avg_num_neighbors=avg_n_neighbors,
        per_type_energy_scales=1.0,
        per_type_energy_shifts=0.0,
        do_derivatives=False,
    )


def official_batch(crystals: list[Crystal], r_max: float) -> AtomicDataDict.Type:
    """Return full cells as a nequip batch: row 0 of the edge index is the centre, row 1 the neighbour."""
    frames = []
    for crystal in crystals:
        edges = find_edges(crystal, np.arange(crystal.n_atoms), r_max)
        frames.append(
            {
                AtomicDataDict.POSITIONS_KEY: torch.from_numpy(crystal.cart_coords),
                AtomicDataDict.CELL_KEY: torch.from_numpy(crystal.lattice)[None],
                AtomicDataDict.PBC_KEY: torch.ones(1, 3, dtype=torch.bool),
                AtomicDataDict.ATOM_TYPE_KEY: torch.from_numpy(crystal.atomic_numbers),
                AtomicDataDict.EDGE_INDEX_KEY: torch.from_numpy(np.stack([edges.dst, edges.src])),
                AtomicDataDict.EDGE_CELL_SHIFT_KEY: torch.from_numpy(edges.cell.astype(np.float64)),
                AtomicDataDict.NUM_NODES_KEY: torch.tensor([crystal.n_atoms]),
            }
        )
    return AtomicDataDict.batched_from_list(frames)


def our_network(config: NequipConfig, graph: GraphConfig, avg_n_neighbors: float) -> Nequip:
    """Return our network with one-hot elements, whose linear embedding corresponds to nequip's type embedding."""
    return Nequip(config, graph, torch.eye(N_ELEMENTS), avg_n_neighbors)


@torch.no_grad()
def copy_weights(official: nn.Module, ours: Nequip) -> None:
    """Copy the official model's weights to ours, with its normalisation factors multiplied into them.

    nequip has no self-connection in its first layer and no biases in its head; ours are set to zero.
    """
    theirs = {name.removeprefix("model.func."): tensor for name, tensor in official.state_dict().items()}
    n = ours.embedding.out_features
    embedding = theirs["type_embed.embed_module.weight"]  # (n_types, n)
    ours.embedding.weight.copy_(embedding.T)
    if ours.attributes is None:
        raise ValueError("n_element_attributes must be n_channels, as in nequip")
    ours.attributes.weight.copy_(embedding.T)
    n_attributes = embedding.shape[1]
    for i, layer in enumerate(ours.layers):
        prefix = f"layer{i}_convnet.conv."
        _copy_linear(theirs[prefix + "linear_1.weight"], layer.linear_in.weights)
        _copy_linear(theirs[prefix + "linear_2.weight"], layer.linear_out.weights)
        _copy_dense(theirs, prefix + "edge_mlp.mlp", layer.radial)
        _sort_radial_outputs(layer)
        if prefix + "sc.weight" in theirs:
            flat = theirs[prefix + "sc.weight"]
            for weight in layer.self_connection.weights:
                size = weight.numel()
                block = flat[:size].view(n, n_attributes, -1).transpose(0, 1)
                weight.copy_(block.reshape(weight.shape) / math.sqrt(n * n_attributes))
                flat = flat[size:]
        else:
            for weight in layer.self_connection.weights:
                weight.zero_()
    _copy_dense(theirs, "per_atom_energy_readout.mlp_module.mlp", ours.head)


def _copy_linear(flat: Tensor, weights: nn.ParameterList) -> None:
    for weight in weights:
        weight.copy_(flat[: weight.numel()].view(weight.shape) / math.sqrt(weight.shape[0]))
        flat = flat[weight.numel() :]
    if len(flat):
        raise ValueError("the official linear layer has other irreps than ours")


def _sort_radial_outputs(layer: Interaction) -> None:
    """Reorder the paths in the radial network's outputs: nequip sorts by l_in, l_edge, l_out; we sort by l_out first."""
    theirs = sorted(layer.dense.paths, key=lambda path: (path.l_in, path.l_edge, path.l_out))
    last = layer.radial[-1]
    blocks = last.weight.view(len(theirs), -1, last.in_features)
    last.weight.copy_(blocks[[theirs.index(path) for path in layer.dense.paths]].reshape(last.weight.shape))


def _copy_dense(theirs: dict[str, Tensor], prefix: str, ours: nn.Sequential) -> None:
    for i, layer in enumerate(module for module in ours if isinstance(module, nn.Linear)):
        weight = theirs[f"{prefix}.{2 * i}.weight"]
        gain = 1.0 if i == 0 else math.sqrt(2)
        layer.weight.copy_(weight.T * gain / math.sqrt(len(weight)))
        if layer.bias is not None:
            layer.bias.zero_()
