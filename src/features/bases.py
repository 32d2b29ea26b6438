"""The base that is subtracted from a target before a learner sees it, see TargetConfig.base."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.config import TargetConfig
from src.data.table import Crystals


def base_of(
    config: TargetConfig, crystals: Crystals, crystals_key: str, folder: Path | None, n_jobs: int = 1
) -> NDArray[np.float64]:
    """Return the target's base for each crystal, (n_crystals,), in the unit of the transformed target; zeros if it has none.

    crystals_key, folder: as for `sevennet.cached_potential`, whose energies are in eV/atom.
    """
    if config.base == "none":
        return np.zeros(len(crystals))
    if config.base == "layer_area":
        from src.features.layers import log_layer_area  # commands without a base do without

        crystals.check_structures("base='layer_area'")
        return np.array([log_layer_area(crystals[i]) for i in range(len(crystals))])
    from src.features import sevennet

    return np.array(sevennet.cached_potential(crystals, crystals_key, folder, n_jobs).arrays["energy"], dtype=np.float64)
