"""The convolution agrees with e3nn, and its fused implementation with the reference."""

import numpy as np
import pytest
import torch
from conftest import CRYSTALS, make_batch
from e3nn import o3
from torch import Tensor

from src.graphs.batch import GraphBatch
from src.models import fused, fused_maps
from src.models.convolution import convolve
from src.models.nequip import edge_lengths, natural_irreps
from src.models.tensor_product import find_paths, paths_into, reference, reference_mix, rotate_to_atoms

N_CHANNELS = 5


def make_inputs(l_max: int, dtype: torch.dtype, symmetry: bool = True) -> tuple[list[Tensor], Tensor, Tensor, Tensor, GraphBatch]:
    torch.manual_seed(l_max)
    batch = make_batch(list(CRYSTALS.values()), r_max=3.5, l_max=l_max, symmetry=symmetry).to("cpu", dtype)
    features = [torch.randn(2 * l + 1, batch.n_orbits, N_CHANNELS, dtype=dtype) for l in range(l_max + 1)]
    lengths, length_index = edge_lengths(batch)
    weights = torch.randn(len(lengths), len(find_paths(l_max, l_max, l_max)) * N_CHANNELS, dtype=dtype)
    sh = o3.spherical_harmonics(list(range(l_max + 1)), batch.edge_vec, normalize=True, normalization="component")
    return features, weights, sh * batch.edge_multiplicity[:, None], length_index, batch


@pytest.mark.parametrize("l_max", [0, 1, 2, 3])
def test_reference_is_e3nns_tensor_product_summed_at_the_centres(l_max: int) -> None:
    features, weights, sh, length_index, batch = make_inputs(l_max, torch.float64)
    paths = find_paths(l_max, l_max, l_max)
    irreps_in = o3.Irreps(natural_irreps(N_CHANNELS, l_max))
    irreps_out = o3.Irreps([(N_CHANNELS, (path.l_out, (-1) ** path.l_out)) for path in paths])
    instructions = [(path.l_in, path.l_edge, p, "uvu", True) for p, path in enumerate(paths)]
    product = o3.TensorProduct(
        irreps_in, o3.Irreps.spherical_harmonics(l_max), irreps_out, instructions, shared_weights=False, internal_weights=False
    ).double()  # fmt: skip
    on_atoms = rotate_to_atoms(features, batch)
    flat = torch.cat([x.permute(1, 2, 0).flatten(1) for x in on_atoms], dim=1)  # e3nn: channels outside, components inside
    messages = product(flat[batch.edge_src_index], sh, weights[length_index])
    expected = messages.new_zeros(batch.n_orbits, irreps_out.dim).index_add(0, batch.edge_dst_index, messages)
    out = reference(features, weights, sh, length_index, batch, paths)
    for l in range(l_max + 1):
        blocks = out[l].unflatten(-1, (-1, N_CHANNELS))  # (2l+1, n_orbits, paths into l, channels)
        for k, p in enumerate(paths_into(paths, l)):
            block = expected[:, irreps_out.slices()[p]].unflatten(-1, (N_CHANNELS, 2 * l + 1))
            torch.testing.assert_close(
                blocks[:, :, k].permute(1, 2, 0), block, rtol=0, atol=2e-6
            )  # e3nn keeps its coefficients in single precision


@pytest.mark.parametrize("symmetry", [True, False])
@pytest.mark.parametrize("l_max", [0, 1, 2, 3])
def test_fused_is_the_reference_forward_and_backward(l_max: int, symmetry: bool) -> None:
    paths = find_paths(l_max, l_max, l_max)
    results = []
    for implementation in (reference, fused.convolve):
        features, weights, sh, length_index, batch = make_inputs(l_max, torch.float32, symmetry)
        inputs = [weights, *features]
        for tensor in inputs:
            tensor.requires_grad_()
        out = implementation(features, weights, sh, length_index, batch, paths)
        torch.manual_seed(7)
        loss = sum((x * torch.randn_like(x)).sum() for x in out)
        results.append([*out, *torch.autograd.grad(loss, inputs)])
    for expected, got in zip(*results, strict=True):
        scale = expected.abs().max().item()
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), atol=1e-5 * scale, rtol=0)


def test_mixing_by_element_is_the_reference_forward_and_backward() -> None:
    element, results = torch.tensor([2, 0, 0, 1, 2, 2]), []
    for implementation in (reference_mix, fused_maps.mix):
        torch.manual_seed(3)
        x, mixing = torch.randn(3, 6, 5, requires_grad=True), torch.randn(4, 5, 7, requires_grad=True)
        out = implementation(x, mixing, element)
        results.append([out, *torch.autograd.grad((out * torch.randn(out.shape)).sum(), [x, mixing])])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_fused_is_the_reference_in_a_layer_that_ends_in_scalars() -> None:
    features, weights, sh, length_index, batch = make_inputs(2, torch.float32)
    paths = find_paths(2, 2, 0)
    weights = weights[:, : len(paths) * N_CHANNELS]
    (expected,) = reference(features, weights, sh, length_index, batch, paths)
    (got,) = fused.convolve(features, weights, sh, length_index, batch, paths)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)


def test_a_cpu_runs_the_fused_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    features, weights, sh, length_index, batch = make_inputs(1, torch.float32)
    called = []
    monkeypatch.setattr(fused, "convolve", lambda *args: called.append(1))
    convolve(features, weights, sh, length_index, batch, find_paths(1, 1, 1))
    assert called == [1]
    convolve(features, weights, sh.requires_grad_(), length_index, batch, find_paths(1, 1, 1))
    assert called == [1]  # only the reference has derivatives by edge vectors
