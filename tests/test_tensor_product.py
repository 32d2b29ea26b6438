"""The convolution agrees with e3nn; its fused and dense implementations, and fused layers, with the reference."""

import gc
import os
import pathlib
import subprocess
import sys
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from conftest import CRYSTALS, make_batch
from e3nn import o3
from torch import Tensor

from src.config import GraphConfig, NequipConfig
from src.graphs.batch import GraphBatch
from src.models import fused, fused_layer, kernels
from src.models.convolution import Convolution, DenseConvolution
from src.models.members import make_network
from src.models.nequip import edge_lengths
from src.models.radial import Knots, RadialValues, each_row
from src.models.tensor_product import Features, Path, clebsch_gordan, find_paths, paths_into, reference_mix, rotate_to_atoms
from src.paths import ROOT

N_CHANNELS = 5


def make_inputs(
    l_max: int, dtype: torch.dtype, symmetry: bool = True, n_channels: int = N_CHANNELS
) -> tuple[list[Tensor], Tensor, Tensor, Tensor, GraphBatch]:
    torch.manual_seed(l_max)
    batch = make_batch(list(CRYSTALS.values()), r_max=3.5, l_max=l_max, symmetry=symmetry).to("cpu", dtype)
    features = [torch.randn(2 * l + 1, batch.n_orbits, n_channels, dtype=dtype) for l in range(l_max + 1)]
    lengths, length_index = edge_lengths(batch)
    weights = torch.randn(len(lengths), len(find_paths(l_max, l_max, l_max)) * n_channels, dtype=dtype)
    sh = o3.spherical_harmonics(list(range(l_max + 1)), batch.edge_vec, normalize=True, normalization="component")
    return features, weights, sh * batch.edge_multiplicity[:, None], length_index, batch


def reference(
    features: Features, weights: Tensor, edge_sh: Tensor, length_index: Tensor, batch: GraphBatch, paths: tuple[Path, ...]
) -> Features:
    """Return the sums of messages at the representatives, as `DenseConvolution` does, path by path."""
    on_atoms = rotate_to_atoms(features, batch)
    n_channels = features[0].shape[-1]
    weights = weights.view(len(weights), len(paths), n_channels)
    out = []
    for l_out in range(max(path.l_out for path in paths) + 1):
        sums = []
        for p in paths_into(paths, l_out):
            path = paths[p]
            cg = torch.as_tensor(clebsch_gordan(path), dtype=edge_sh.dtype, device=edge_sh.device)
            harmonics = edge_sh[:, path.l_edge**2 : (path.l_edge + 1) ** 2]
            message = torch.einsum("ijk,ej,iec->kec", cg, harmonics, on_atoms[path.l_in][:, batch.edge_src_index])
            message = message * weights[length_index, p]
            total = message.new_zeros(2 * l_out + 1, batch.n_orbits, n_channels)
            sums.append(total.index_add(1, batch.edge_dst_index, message))
        out.append(torch.cat(sums, dim=-1))
    return out


@pytest.mark.parametrize("l_max", [0, 1, 2, 3])
def test_reference_is_e3nns_tensor_product_summed_at_the_centres(l_max: int) -> None:
    features, weights, sh, length_index, batch = make_inputs(l_max, torch.float64)
    paths = find_paths(l_max, l_max, l_max)
    irreps_in = o3.Irreps([(N_CHANNELS, (l, (-1) ** l)) for l in range(l_max + 1)])
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


def check_fused(paths: tuple[Path, ...], n_knots: int = 0, n_channels: int = N_CHANNELS, symmetry: bool = True) -> None:
    """Compare the fused implementation with the reference, forward and backward."""
    l_in, l_max = (max(getattr(path, name) for path in paths) for name in ("l_in", "l_edge"))
    results = []
    for fuse in (False, True):
        features, _, sh, length_index, batch = make_inputs(l_max, torch.float32, symmetry, n_channels)
        lengths = edge_lengths(batch)[0]
        places = Knots(3.5, n_knots).locate(lengths) if n_knots else each_row(lengths)
        rows = torch.randn(n_knots + 3 if n_knots else len(lengths), len(paths) * n_channels)
        radial, features = RadialValues(rows.requires_grad_(), *places), [x.requires_grad_() for x in features[: l_in + 1]]
        if fuse:
            out = fused.convolve(features, radial, fused.make_edges(sh, length_index, batch), paths)
        else:
            out = reference(features, radial.at_lengths(), sh, length_index, batch, paths)
        torch.manual_seed(7)
        loss = sum((x * torch.randn_like(x)).sum() for x in out)
        results.append([*out, *torch.autograd.grad(loss, [rows, *features])])
    for expected, got in zip(*results, strict=True):
        scale = expected.abs().max().item()
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("symmetry", [True, False])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (0, 2, 2), (1, 1, 1), (2, 2, 2), (2, 2, 0), (3, 3, 3)])
def test_dense_is_the_reference_forward_and_backward(degrees: tuple[int, int, int], symmetry: bool) -> None:
    paths, results = find_paths(*degrees), []
    features, weights, sh, length_index, batch = make_inputs(max(degrees), torch.float64, symmetry, 5)
    weights = torch.randn(len(weights), len(paths) * 5, dtype=torch.float64, requires_grad=True)
    features, sh = [x.requires_grad_() for x in features[: degrees[0] + 1]], sh.requires_grad_()
    for convolve in (partial(reference, paths=paths), DenseConvolution(paths).double()):
        out = convolve(features, weights, sh, length_index, batch)
        torch.manual_seed(7)
        loss = sum((x * torch.randn(x.shape, dtype=x.dtype)).sum() for x in out)
        results.append([*out, *torch.autograd.grad(loss, [weights, sh, *features])])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


@pytest.mark.parametrize("n_channels", [5, 16, 48])  # part of a tile, one tile, three
@pytest.mark.parametrize("degrees", [(0, 0, 0), (0, 2, 2), (1, 1, 1), (2, 2, 2), (2, 2, 0)])
def test_fused_is_the_reference_forward_and_backward(degrees: tuple[int, int, int], n_channels: int) -> None:
    check_fused(find_paths(*degrees), n_channels=n_channels)


@pytest.mark.parametrize("few_edges", [0, 1000])  # interpolated beforehand, or at each edge
@pytest.mark.parametrize("n_channels", [5, 32])
def test_fused_is_the_reference_between_knots(n_channels: int, few_edges: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "FEW_EDGES", few_edges)
    check_fused(find_paths(1, 1, 1), 6, n_channels, symmetry=n_channels == 5)


def test_fused_is_the_reference_if_the_terms_take_several_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = find_paths(1, 1, 0)
    n_loops = []
    for most in (kernels.MAX_TERMS, 1):
        monkeypatch.setattr(kernels, "MAX_TERMS", most)
        n_loops.append(kernels.loops(kernels.find_terms(paths), kernels.forward_lines).count("for c in range"))
    assert n_loops == [1, 2]
    kernels.make_kernels.cache_clear()
    check_fused(paths)
    kernels.make_kernels.cache_clear()


@pytest.mark.slow  # compiles for half a minute
def test_fused_is_the_reference_for_the_highest_degree() -> None:
    check_fused(find_paths(3, 3, 3), n_channels=16)


def test_mixing_by_element_is_the_reference_forward_and_backward() -> None:
    element, results = torch.tensor([2, 0, 0, 1, 2, 2]), []
    for implementation in (reference_mix, fused.mix):
        torch.manual_seed(3)
        x, mixing = torch.randn(3, 6, 5, requires_grad=True), torch.randn(4, 5, 7, requires_grad=True)
        out = implementation(x, mixing, element)
        results.append([out, *torch.autograd.grad((out * torch.randn(out.shape)).sum(), [x, mixing])])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_a_cpu_runs_the_fused_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    features, weights, sh, length_index, batch = make_inputs(1, torch.float32)
    radial, called = RadialValues(weights, *each_row(edge_lengths(batch)[0])), []
    monkeypatch.setattr(fused, "convolve", lambda *args: called.append(1))
    Convolution(sh, length_index, batch)(features, radial, DenseConvolution(find_paths(1, 1, 1)))
    assert called == [1]
    Convolution(sh.requires_grad_(), length_index, batch)(features, radial, DenseConvolution(find_paths(1, 1, 1)))
    assert called == [1]  # only the reference has derivatives by edge vectors


COMPILES = """
import numpy as np
from src.models.kernels import make_kernels
from src.models.compiled import jit
from src.models.tensor_product import find_paths

make_kernels(tuple(find_paths(0, 0, 0)))
jit(lambda x: x + 1)(np.ones(3))
jit(lambda x: x + 2)(np.ones(3))
"""


def test_what_is_compiled_is_announced_once(tmp_path: pathlib.Path) -> None:
    """Also by workers, which have no log; nothing is said of what numba's cache holds."""
    script = tmp_path / "compiles.py"
    script.write_text(COMPILES)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, script]
    said = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr for _ in range(2)]
    assert said == ["compiling for this machine: once, for seconds; convolutions of l_max 3 take a minute\n", ""]


def results(config: NequipConfig, l_max: int) -> list[Tensor]:
    """Return the outputs of a network and the gradients of its parameters."""
    torch.manual_seed(0)
    network = make_network(config, GraphConfig(r_max=3.5, l_max=l_max), torch.randn(119, 6), 20.0)
    out = network(make_batch(list(CRYSTALS.values()), r_max=3.5, l_max=l_max).to("cpu", torch.float32))
    (out * torch.arange(1.0, len(out) + 1)).sum().backward()
    return [out.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("l_max", [1, 2])
@pytest.mark.parametrize("n_attributes", [0, 4])
def test_a_fused_layer_is_the_layer_of_modules(n_attributes: int, l_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    called, interact = [], fused_layer.interact
    monkeypatch.setattr(fused_layer, "interact", lambda *args: called.append(1) or interact(*args))
    config = NequipConfig(n_channels=32, radial_knots=16 * n_attributes, n_element_attributes=n_attributes)
    fused = results(config, l_max)
    assert len(called) == config.n_layers
    monkeypatch.setattr(Convolution, "edges_of_layer", lambda *_: None)
    for got, expected in zip(fused, results(config, l_max), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert len(called) == config.n_layers


def test_channels_that_fill_no_tile_stay_in_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_layer, "interact", lambda *_: pytest.fail("a fused layer was called"))
    results(NequipConfig(n_channels=8), 1)


@pytest.mark.parametrize("n_channels", [8, 16])  # the convolution alone, and whole layers
def test_a_step_leaves_nothing_behind(n_channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = []
    prepare = fused.Pass.__init__
    monkeypatch.setattr(fused.Pass, "__init__", lambda self, *args: alive.append(weakref.ref(self)) or prepare(self, *args))
    results(NequipConfig(n_channels=n_channels), 1)
    gc.collect()
    assert alive and not any(one() for one in alive)
