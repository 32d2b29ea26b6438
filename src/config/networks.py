"""Networks. Sizes that every experiment has are constants beside the formula that they belong to."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from src.config.schema import config_class

MAX_COUNT = 4096  # channels, layers, basis functions: a larger number is more likely a typing error than a network
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
ReadoutName = Literal["mean", "sum", "max", "attention"]


class NetworkTraits:
    """What a network is, for whoever prepares its inputs or trains it.

    reads_formula: it needs no structure. has_forces: its energy has forces that can be trained on. takes_features: features of
    crystals can enter its head. trains_members: several of it can be trained in one pass.
    """

    reads_formula: ClassVar[bool] = False
    has_forces: ClassVar[bool] = False
    takes_features: ClassVar[bool] = False
    trains_members: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Name of the network, for messages and tables."""
        return type(self).__name__.removesuffix("Config")


@config_class
class NequipConfig(NetworkTraits):
    """NequIP; names as in the nequip package if it has them.

    n_channels: features of each irrep.
    n_layers: interaction layers.
    n_bessel: radial basis functions.
    radial_hidden: widths of the radial network's hidden layers.
    radial_knots: the radial network is evaluated at so many distances, evenly spaced from 0 to r_max, and interpolated between
        them (256 reach single precision, see docs/speed.md); 0: it is evaluated at every distance.
    n_element_attributes: width of the learned linear map of the element vector that conditions the self-connection; 0: the
        self-connection is the same for all elements.
    head_hidden: widths of the hidden layers of the per-atom head.
    gather_layers: the head sees the scalars of the embedding and of every layer, not only of the last (2nd place).
    readout: how the outputs of the atoms become that of the crystal, see src/models/readout.py.
    """

    has_forces: ClassVar[bool] = True
    takes_features: ClassVar[bool] = True

    n_channels: Count = 32
    n_layers: Count = 3
    n_bessel: Count = 8
    radial_hidden: tuple[Count, ...] = (64, 64)
    radial_knots: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    n_element_attributes: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    head_hidden: tuple[Count, ...] = (32,)
    gather_layers: bool = False
    readout: ReadoutName = "mean"


@config_class
class EgnnConfig(NetworkTraits):
    """EGNN. n_channels: features of an atom. n_layers: message-passing layers."""

    has_forces: ClassVar[bool] = True

    n_channels: Count = 64
    n_layers: Count = 4


@config_class
class CgcnnConfig(NetworkTraits):
    """CGCNN (Xie, Grossman 2018), sized as the authors'. n_channels: features of an atom. n_layers: convolutions."""

    n_channels: Count = 64
    n_layers: Count = 3


@config_class
class SchnetConfig(NetworkTraits):
    """SchNet (Schuett et al. 2018), sized as the authors' for the Materials Project.

    n_channels: features of an atom, and filters. n_layers: interaction blocks.
    """

    n_channels: Count = 64
    n_layers: Count = 6


@config_class
class MegnetConfig(NetworkTraits):
    """MEGNet (Chen et al. 2019), sized as the authors'. n_channels: features of an atom, of a bond and of the crystal."""

    trains_members: ClassVar[bool] = False  # torch has no LSTM of several

    n_channels: Count = 32
    n_layers: Count = 3


@config_class
class AlignnConfig(NetworkTraits):
    """ALIGNN (Choudhary, DeCost 2021), sized as in the package alignn 2026.8.11; the paper has 256 channels, 4 + 4 layers.

    n_alignn_layers: layers on bonds and angles. n_gcn_layers: layers on bonds alone, after the former.
    zero_head: the last layer begins at zero, and so does every prediction; otherwise they begin around a value that depends on
        the seed and may be far from all targets.
    """

    n_channels: Count = 64
    n_alignn_layers: Count = 2
    n_gcn_layers: Count = 2
    zero_head: bool = False


@config_class
class RoostConfig(NetworkTraits):
    """Roost (Goodall, Lee 2020), which reads formulas alone; sized as the authors'.

    n_channels: features of an element, its share in the formula among them. n_hidden: width of every hidden layer.
    """

    reads_formula: ClassVar[bool] = True

    n_channels: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 64
    n_layers: Count = 3
    n_hidden: Count = 256


NetworkConfig = NequipConfig | EgnnConfig | CgcnnConfig | SchnetConfig | MegnetConfig | AlignnConfig | RoostConfig
