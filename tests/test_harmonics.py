"""The spherical harmonics and their coupling are those of e3nn, which published networks were trained with."""

import numpy as np
import pytest
import torch
from e3nn import o3
from e3nn.math import normalize2mom

from src.graphs.harmonics import L_MAX, coupling, harmonics_of_degree
from src.models.nequip import SILU_SCALE, edge_harmonics
from src.models.tensor_product import find_paths


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("l_max", range(L_MAX + 1))
def test_harmonics_are_those_of_e3nn_to_the_last_bit_with_their_derivatives(l_max: int, dtype: torch.dtype) -> None:
    torch.manual_seed(l_max)
    vectors, found = torch.randn(50, 3, dtype=dtype), []
    weight = torch.randn(50, (l_max + 1) ** 2, dtype=dtype)
    for function in (
        lambda x: edge_harmonics(l_max, x),
        lambda x: o3.spherical_harmonics(list(range(l_max + 1)), x, normalize=True, normalization="component"),
    ):
        x = vectors.clone().requires_grad_()
        values = function(x)
        gradient = torch.autograd.grad((values * weight).sum(), x)[0] if l_max else torch.zeros_like(x)
        found.append((values.detach(), gradient))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(*[gradient for _, gradient in found])


@pytest.mark.parametrize("l", range(L_MAX + 1))
def test_harmonics_of_arrays_are_those_of_tensors(l: int) -> None:
    vectors = np.random.default_rng(l).normal(size=(4, 5, 3))
    expected = edge_harmonics(L_MAX, torch.from_numpy(vectors)).numpy()[..., l**2 : (l + 1) ** 2]
    np.testing.assert_allclose(harmonics_of_degree(l, vectors), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("path", find_paths(L_MAX, L_MAX, L_MAX), ids=lambda p: f"{p.l_in}{p.l_edge}{p.l_out}")
def test_the_coupling_is_e3nns_with_its_sign_and_the_same_in_single_precision(path: object) -> None:
    degrees = (path.l_in, path.l_edge, path.l_out)
    expected = o3.wigner_3j(*degrees, dtype=torch.float64).numpy()
    np.testing.assert_allclose(coupling(*degrees), expected, rtol=0, atol=1e-14)
    norm = (2 * path.l_out + 1) ** 0.5
    np.testing.assert_array_equal((coupling(*degrees) * norm).astype(np.float32), (expected * norm).astype(np.float32))


def test_the_scale_of_silu_is_that_of_e3nn() -> None:
    assert normalize2mom(torch.nn.functional.silu).cst == SILU_SCALE
