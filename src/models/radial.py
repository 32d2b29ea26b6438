"""Radial basis and cutoff of NequIP, and the dense network on top of them."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn


def polynomial_cutoff(x: Tensor, p: float) -> Tensor:
    """Smooth cutoff: 1 at x = 0, zero with its first two derivatives at x = 1, zero beyond.

    x: (...), distance over r_max. p: exponent. Source: Gasteiger et al., arXiv:2003.03123, eq. 8.
    """
    a, b, c = (p + 1) * (p + 2) / 2, p * (p + 2), p * (p + 1) / 2
    return (1 - x**p * (a - b * x + c * x**2)) * (x < 1)


def bessel_basis(x: Tensor, r_max: float, n_bessel: int) -> Tensor:
    """(..., n_bessel): sin(n pi x) / x times 2 / r_max^2, finite at zero.

    x: (...), distance over r_max. Source: Gasteiger et al., arXiv:2003.03123, eq. 7; Batzner et al. 2022, eq. 8.
    """
    n = torch.arange(1, n_bessel + 1, dtype=x.dtype, device=x.device)
    return torch.sinc(x[..., None] * n) * (n * (2 * math.pi / r_max**2))


class RadialBasis(nn.Module):
    """Distance -> Bessel functions times cutoff."""

    def __init__(self, r_max: float, n_bessel: int, polynomial_cutoff_p: float) -> None:
        super().__init__()
        self.r_max, self.n_bessel, self.p = r_max, n_bessel, polynomial_cutoff_p

    def forward(self, length: Tensor) -> Tensor:
        """length: (n_lengths,), Angstrom."""
        x = length / self.r_max
        return bessel_basis(x, self.r_max, self.n_bessel) * polynomial_cutoff(x, self.p)[:, None]  # (n_lengths, n_bessel)


class RadialNetwork(nn.Sequential):
    """Dense network without biases, so that it is zero where its input, the radial basis, is."""

    def __init__(self, n_in: int, hidden: tuple[int, ...], n_out: int) -> None:
        widths = (n_in, *hidden, n_out)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            linear = nn.Linear(a, b, bias=False)
            nn.init.uniform_(linear.weight, -1, 1)
            with torch.no_grad():  # variance 1 / a, doubled behind a nonlinearity, as in nequip
                linear.weight.mul_(math.sqrt((3.0 if i == 0 else 6.0) / a))
            layers += [linear, nn.SiLU()]
        super().__init__(*layers[:-1])


def unit_linear(n_in: int, n_out: int) -> nn.Linear:
    """A linear layer without bias whose outputs have unit variance where its inputs do."""
    linear = nn.Linear(n_in, n_out, bias=False)
    nn.init.normal_(linear.weight, std=n_in**-0.5)
    return linear
