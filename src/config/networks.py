"""Networks."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from src.config.schema import config_class

MAX_COUNT = 4096  # channels, layers, basis functions: a larger number is more likely a typing error than a network
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
GridSize = Annotated[int, Field(ge=2, le=MAX_COUNT)]  # of evenly spaced functions, one at either end
CutoffExponent = Annotated[float, Field(ge=2)]
ReadoutName = Literal["mean", "sum", "max", "attention"]


@config_class
class NequipConfig:
    """NequIP; names as in the nequip package if it has them.

    n_channels: features of each irrep.
    n_layers: interaction layers.
    n_bessel: radial basis functions.
    radial_hidden: widths of the radial network's hidden layers.
    polynomial_cutoff_p: exponent of the cutoff's polynomial.
    radial_knots: the radial network is evaluated at so many distances, evenly spaced from 0 to r_max, and interpolated between
        them (256 reach single precision, see docs/speed.md); 0: it is evaluated at every distance.
    n_element_attributes: width of the learned linear map of the element vector that conditions the self-connection; 0: the
        self-connection is the same for all elements.
    head_hidden: widths of the hidden layers of the per-atom head.
    gather_layers: the head sees the scalars of the embedding and of every layer, not only of the last (2nd place).
    readout: how the outputs of the atoms become that of the crystal, see src/models/readout.py.
    """

    n_channels: Count = 32
    n_layers: Count = 3
    n_bessel: Count = 8
    radial_hidden: tuple[Count, ...] = (64, 64)
    polynomial_cutoff_p: CutoffExponent = 6.0
    radial_knots: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    n_element_attributes: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    head_hidden: tuple[Count, ...] = (32,)
    gather_layers: bool = False
    readout: ReadoutName = "mean"


@config_class
class EgnnConfig:
    """EGNN; knobs as in NequipConfig."""

    n_channels: Count = 64
    n_layers: Count = 4
    n_bessel: Count = 8
    polynomial_cutoff_p: CutoffExponent = 6.0
    readout: ReadoutName = "mean"


@config_class
class CgcnnConfig:
    """CGCNN (Xie, Grossman 2018); defaults are the authors'.

    gaussian_step: Angstrom, distance between the centres of the Gaussians that expand bond lengths.
    n_hidden: width of the hidden layer after the readout, which pools the features of atoms.
    polynomial_cutoff_p, readout: as in NequipConfig, but what the hidden layer makes of a sum would not grow with the cell.
    """

    n_channels: Count = 64
    n_layers: Count = 3
    gaussian_step: PositiveFloat = 0.2
    n_hidden: Count = 128
    polynomial_cutoff_p: CutoffExponent = 6.0
    readout: Literal["mean", "max", "attention"] = "mean"


@config_class
class SchnetConfig:
    """SchNet (Schuett et al. 2018); defaults are the authors' for the Materials Project.

    n_channels: features of an atom, and filters. n_gaussians: Gaussians that expand bond lengths, from 0 to r_max.
    readout: as in NequipConfig.
    """

    n_channels: Count = 64
    n_layers: Count = 6
    n_gaussians: GridSize = 50
    readout: ReadoutName = "mean"


@config_class
class MegnetConfig:
    """MEGNet (Chen et al. 2019); defaults are the authors'.

    n_channels: features of an atom, of a bond and of the crystal. n_hidden: width inside a block.
    n_gaussians: Gaussians that expand bond lengths, from 0 to r_max + 1 Angstrom. gaussian_width: Angstrom.
    n_set2set: steps of the readout. polynomial_cutoff_p: as in NequipConfig.
    """

    n_channels: Count = 32
    n_hidden: Count = 64
    n_layers: Count = 3
    n_gaussians: GridSize = 100
    gaussian_width: PositiveFloat = 0.5
    n_set2set: Count = 3
    polynomial_cutoff_p: CutoffExponent = 6.0


@config_class
class AlignnConfig:
    """ALIGNN (Choudhary, DeCost 2021), sized as in the package alignn 2026.8.11; the paper has 256 channels, 4 + 4 layers.

    n_alignn_layers: layers on bonds and angles. n_gcn_layers: layers on bonds alone, after the former.
    n_gaussians: Gaussians that expand bond lengths, from 0 to r_max. n_angle_gaussians: those that expand cosines.
    n_embedding: hidden width of the embeddings of bonds and angles. polynomial_cutoff_p, readout: as in NequipConfig.
    zero_head: the last layer begins at zero, and so does every prediction; otherwise they begin around a value that depends on
        the seed and may be far from all targets, see docs/results.md.
    """

    n_channels: Count = 64
    n_alignn_layers: Count = 2
    n_gcn_layers: Count = 2
    n_gaussians: GridSize = 80
    n_angle_gaussians: GridSize = 40
    n_embedding: Count = 64
    polynomial_cutoff_p: CutoffExponent = 6.0
    readout: ReadoutName = "mean"
    zero_head: bool = False


@config_class
class RoostConfig:
    """Roost (Goodall, Lee 2020), which reads formulas alone; it needs `graph.formula`. Defaults are the authors'.

    n_channels: features of an element, its share in the formula among them. n_heads: of each attention.
    n_hidden: width of every hidden layer.
    """

    n_channels: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 64
    n_layers: Count = 3
    n_heads: Count = 3
    n_hidden: Count = 256


NetworkConfig = NequipConfig | EgnnConfig | CgcnnConfig | SchnetConfig | MegnetConfig | AlignnConfig | RoostConfig
