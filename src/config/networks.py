"""Networks."""

from dataclasses import dataclass

from src.config.checks import MAX_COUNT, require, require_counts, require_widths


@dataclass(frozen=True)
class NequipConfig:
    """The network; names as in the nequip package where it has them.

    n_channels: features of each irrep.
    n_layers: interaction layers.
    n_bessel: radial basis functions.
    radial_hidden: widths of the radial network's hidden layers.
    polynomial_cutoff_p: exponent of the cutoff's polynomial.
    n_element_attributes: width of the learned linear map of the element vector that conditions the self-connection; 0: a
        self-connection that is the same for all elements.
    head_hidden: widths of the hidden layers of the per-atom head.
    gather_layers: the head sees the scalars of the embedding and of every layer, not of the last alone (2nd place).
    """

    n_channels: int = 32
    n_layers: int = 3
    n_bessel: int = 8
    radial_hidden: tuple[int, ...] = (64, 64)
    polynomial_cutoff_p: float = 6.0
    n_element_attributes: int = 0
    head_hidden: tuple[int, ...] = (32,)
    gather_layers: bool = False

    def __post_init__(self) -> None:
        require_counts(self, "n_channels", "n_layers", "n_bessel")
        require_widths(self, "radial_hidden", "head_hidden")
        require(
            0 <= self.n_element_attributes <= MAX_COUNT,
            f"network.n_element_attributes={self.n_element_attributes}, 0 to {MAX_COUNT}",
        )
        require(self.polynomial_cutoff_p >= 2, f"network.polynomial_cutoff_p={self.polynomial_cutoff_p}, at least 2")


@dataclass(frozen=True)
class EgnnConfig:
    """EGNN; knobs as those of NequipConfig of the same name."""

    n_channels: int = 64
    n_layers: int = 4
    n_bessel: int = 8
    polynomial_cutoff_p: float = 6.0

    def __post_init__(self) -> None:
        require_counts(self, "n_channels", "n_layers", "n_bessel")


@dataclass(frozen=True)
class CgcnnConfig:
    """CGCNN (Xie, Grossman 2018); defaults are the authors'.

    gaussian_step: Angstrom, between the centres of the Gaussians that bond lengths are expanded in.
    n_hidden: width of the hidden layer behind the mean over atoms.
    polynomial_cutoff_p: as in NequipConfig.
    """

    n_channels: int = 64
    n_layers: int = 3
    gaussian_step: float = 0.2
    n_hidden: int = 128
    polynomial_cutoff_p: float = 6.0

    def __post_init__(self) -> None:
        require_counts(self, "n_channels", "n_layers", "n_hidden")
        require(self.gaussian_step > 0, f"network.gaussian_step={self.gaussian_step}, above 0 Angstrom")


@dataclass(frozen=True)
class SchnetConfig:
    """SchNet (Schuett et al. 2018); defaults are the authors' for the Materials Project.

    n_channels: features of an atom, and filters. n_gaussians: of the expansion of bond lengths from 0 to r_max.
    """

    n_channels: int = 64
    n_layers: int = 6
    n_gaussians: int = 50

    def __post_init__(self) -> None:
        require_counts(self, "n_channels", "n_layers")
        require(2 <= self.n_gaussians <= MAX_COUNT, f"network.n_gaussians={self.n_gaussians}, 2 to {MAX_COUNT}")


@dataclass(frozen=True)
class MegnetConfig:
    """MEGNet (Chen et al. 2019); defaults are the authors'.

    n_channels: features of an atom, of a bond and of the crystal. n_hidden: width inside a block.
    n_gaussians, gaussian_width: of the expansion of bond lengths from 0 to r_max + 1 Angstrom; the width in Angstrom.
    n_set2set: steps of the readout. polynomial_cutoff_p: as in NequipConfig.
    """

    n_channels: int = 32
    n_hidden: int = 64
    n_layers: int = 3
    n_gaussians: int = 100
    gaussian_width: float = 0.5
    n_set2set: int = 3
    polynomial_cutoff_p: float = 6.0

    def __post_init__(self) -> None:
        require_counts(self, "n_channels", "n_hidden", "n_layers", "n_set2set")
        require(2 <= self.n_gaussians <= MAX_COUNT, f"network.n_gaussians={self.n_gaussians}, 2 to {MAX_COUNT}")
        require(self.gaussian_width > 0, f"network.gaussian_width={self.gaussian_width}, above 0 Angstrom")


@dataclass(frozen=True)
class AlignnConfig:
    """ALIGNN (Choudhary, DeCost 2021), sized as in the package alignn 2026.8.11; the paper has 256 channels, 4 + 4 layers.

    n_alignn_layers: layers on bonds and angles. n_gcn_layers: layers on bonds alone, behind them.
    n_gaussians: of the expansion of bond lengths from 0 to r_max. n_angle_gaussians: of cosines.
    n_embedding: hidden width of the embeddings of bonds and angles. polynomial_cutoff_p: as in NequipConfig.
    """

    n_channels: int = 64
    n_alignn_layers: int = 2
    n_gcn_layers: int = 2
    n_gaussians: int = 80
    n_angle_gaussians: int = 40
    n_embedding: int = 64
    polynomial_cutoff_p: float = 6.0

    def __post_init__(self) -> None:
        require_counts(self, "n_channels", "n_alignn_layers", "n_gcn_layers", "n_embedding")
        for name in ("n_gaussians", "n_angle_gaussians"):
            require(2 <= getattr(self, name) <= MAX_COUNT, f"network.{name}={getattr(self, name)}, 2 to {MAX_COUNT}")


NetworkConfig = NequipConfig | EgnnConfig | CgcnnConfig | SchnetConfig | MegnetConfig | AlignnConfig
