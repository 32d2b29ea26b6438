"""Radial basis, cutoff and radial network of NequIP."""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

CUTOFF_EXPONENT = 6.0  # p of `polynomial_cutoff` in all networks
# coefficients of 1, x, x^2, x^3 (rows) in six times the weights of the knots at -1, 0, 1, 2 (columns)
LAGRANGE = [[0.0, 6.0, 0.0, 0.0], [-2.0, -3.0, 6.0, -1.0], [3.0, -6.0, 3.0, 0.0], [-1.0, 3.0, -3.0, 1.0]]


def polynomial_cutoff(x: Tensor, p: float = CUTOFF_EXPONENT) -> Tensor:
    """Return the smooth cutoff: 1 at x = 0, zero from x = 1 on, where its first two derivatives vanish as well.

    x: (...), distance over r_max. p: exponent. Source: Gasteiger et al., arXiv:2003.03123, eq. 8.
    """
    a, b, c = (p + 1) * (p + 2) / 2, p * (p + 2), p * (p + 1) / 2
    return (1 - x**p * (a - b * x + c * x**2)) * (x < 1)


def bessel_basis(x: Tensor, r_max: float, n_bessel: int) -> Tensor:
    """Return 2 / r_max^2 * sin(n pi x) / x for n = 1 ... n_bessel, (..., n_bessel), finite at x = 0.

    x: (...), distance over r_max. Source: Gasteiger et al., eq. 7, scaled as in Batzner et al. 2022, eq. 8.
    """
    n = torch.arange(1, n_bessel + 1, dtype=x.dtype, device=x.device)
    return torch.sinc(x[..., None] * n) * (n * (2 * math.pi / r_max**2))


def radial_basis(length: Tensor, r_max: float, n_bessel: int) -> Tensor:
    """Return Bessel functions of the distance times the cutoff, (n_lengths, n_bessel). length: (n_lengths,), Angstrom."""
    x = length / r_max
    return bessel_basis(x, r_max, n_bessel) * polynomial_cutoff(x)[:, None]


class RadialValues(NamedTuple):
    """Output of a radial network: the value at a length is a weighted sum of n_points consecutive rows.

    rows: (n_rows, n). first: (n_lengths,), the first of the rows. weight: (n_lengths, n_points), which sum to one.
    """

    rows: Tensor
    first: Tensor
    weight: Tensor

    def at_lengths(self) -> Tensor:
        """Return the values at the lengths, (n_lengths, n)."""
        points = self.first[:, None] + torch.arange(self.weight.shape[1], device=self.first.device)
        return (self.rows[points] * self.weight[:, :, None]).sum(dim=1)


def each_row(length: Tensor) -> tuple[Tensor, Tensor]:
    """Return `first` and `weight` of radial values that have one row per length."""
    return torch.arange(len(length), device=length.device), torch.ones_like(length)[:, None]


class Knots(nn.Module):
    """Distances at which functions of the distance are tabulated: -h, 0, h, ... r_max + h.

    A value in between is a cubic polynomial through the four nearest knots (Lagrange). The radial basis is smooth, and zero
    beyond r_max.
    """

    def __init__(self, r_max: float, n: int) -> None:
        """n: intervals from 0 to r_max."""
        super().__init__()
        self.spacing = r_max / n
        self.distance: Tensor
        self.register_buffer("distance", torch.arange(-1, n + 2) * self.spacing, persistent=False)
        self.lagrange: Tensor
        self.register_buffer("lagrange", torch.tensor(LAGRANGE), persistent=False)

    def locate(self, length: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first of the four knots, (n_lengths,), and their weights, (n_lengths, 4), which sum to one.

        length: (n_lengths,), Angstrom; beyond r_max, where the basis is zero, that counts as r_max.
        """
        position = (length / self.spacing).clamp(max=len(self.distance) - 3)
        first = position.floor().clamp(max=len(self.distance) - 4)
        x = position - first
        square = x * x
        powers = torch.stack([torch.ones_like(x), x, square, square * x], dim=-1)
        return first.long(), powers @ self.lagrange / 6


class RadialNetwork(nn.Sequential):
    """Dense network without biases, so that its output vanishes with its input, the radial basis, at the cutoff."""

    def __init__(self, n_in: int, hidden: tuple[int, ...], n_out: int) -> None:
        widths = (n_in, *hidden, n_out)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            linear = nn.Linear(a, b, bias=False)
            nn.init.uniform_(linear.weight, -1, 1)
            with torch.no_grad():  # variance 1 / a, doubled after a nonlinearity, as in nequip
                linear.weight.mul_(math.sqrt((3.0 if i == 0 else 6.0) / a))
            layers += [linear, nn.SiLU()]
        super().__init__(*layers[:-1])


def unit_linear(n_in: int, n_out: int) -> nn.Linear:
    """Return a linear layer without bias whose outputs have unit variance if its inputs do."""
    linear = nn.Linear(n_in, n_out, bias=False)
    nn.init.normal_(linear.weight, std=n_in**-0.5)
    return linear
