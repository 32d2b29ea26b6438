"""Pretrained potentials: which there are, the cached stores of what they predict, and what is made of these (open track)."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config import TargetConfig
from src.data.crystal import Crystal
from src.data.table import Crystals
from src.features import chgnet, sevennet
from src.features.oxides import oxide_corrections
from src.storage.cache import cache_key, in_chunks
from src.storage.ragged import RaggedStore


class Potential(Protocol):
    """What the module of a potential has. It imports its package inside functions only, since that is optional.

    PRETRAINED: its trainings, by name. ELEMENTS: the atomic numbers that it knows. CHUNK: crystals that are predicted together,
    so that numbers do not depend on the number of processes.
    LEVELS: fields of its stores and their level; there are `energy`, `crystal_features` and `site_energies` at least.
    """

    __name__: str
    PACKAGE: str
    PRETRAINED: dict[str, str]
    ELEMENTS: frozenset[int]
    CHUNK: int
    LEVELS: dict[str, str]

    def predict(self, crystals: list[Crystal], name: str) -> list[dict[str, NDArray[np.float32]]]:
        """Return the fields of LEVELS for each crystal by one of PRETRAINED."""


POTENTIALS: dict[str, Potential] = {name: module for module in (chgnet, sevennet) for name in module.PRETRAINED}
BASES: dict[str, tuple[str, ...]] = {
    "none": (),
    **{name: (name,) for name in ("chgnet", *sevennet.PRETRAINED)},
    "chgnet_mean": tuple(chgnet.PRETRAINED),
    "7net_mean": tuple(sevennet.PRETRAINED),
}


def cached_potential(
    crystals: Crystals, crystals_key: str, folder: Path | None, n_jobs: int = 1, name: str = "chgnet"
) -> RaggedStore:
    """Return the store of the potential's LEVELS for all crystals in `folder`, memory-mapped; it is computed if it is missing.

    crystals_key: identifies the crystals, for instance by their hash. name: one of POTENTIALS.
    Raises ValueError if the potential's package is not installed or does not know an element.
    """
    if folder is None:
        return compute_potential(crystals, n_jobs, name)
    potential = _installed(name)
    key = cache_key(crystals_key, name, potential.__name__, "src.storage.ragged")
    return RaggedStore.cached(folder / f"{name}-{key}", lambda: compute_potential(crystals, n_jobs, name))


def base_energies(
    config: TargetConfig, crystals: Crystals, crystals_key: str, folder: Path | None, n_jobs: int = 1
) -> NDArray[np.float64]:
    """Return (n_crystals,), eV/atom: the mean of the energies that the target's base names, zeros if it names none.

    With reference `elements_u_and_oxides` those of peroxides and superoxides are corrected.
    """
    names = BASES[config.base]
    energies = [cached_potential(crystals, crystals_key, folder, n_jobs, name).arrays["energy"] for name in names]
    found: NDArray[np.float64] = np.mean(energies, axis=0, dtype=np.float64) if names else np.zeros(len(crystals))
    return found + oxide_corrections(crystals) if config.reference == "elements_u_and_oxides" else found


def compute_potential(crystals: Crystals, n_jobs: int = 1, name: str = "chgnet") -> RaggedStore:
    """Return the store of the potential's LEVELS for all crystals in single precision. name: one of POTENTIALS."""
    potential = _installed(name)
    crystals.check_structures(name)
    unknown = [z for z in range(crystals.element_counts.shape[1]) if z not in potential.ELEMENTS]
    if len(rows := np.flatnonzero(crystals.element_counts[:, unknown].any(axis=1))):
        found = [z for z in unknown if crystals.element_counts[rows, z].any()]
        raise ValueError(f"{name} does not know Z = {found}, which rows {rows[:5].tolist()} contain: leave them out")
    compute, n = partial(_compute_chunk, crystals, name), len(crystals)
    return RaggedStore.concatenate(in_chunks(compute, range(n), n, potential.CHUNK, name, n_jobs, worth_workers=100))


def potential_features(potential: RaggedStore, prefix: str = "chgnet") -> pd.DataFrame:
    """Return one row for each crystal: energy, crystal features, spread and maximum of each number that sites have.

    potential: a store of `cached_potential`.
    """
    arrays, offsets = potential.arrays, potential.offsets["atom"]
    n_atoms = np.diff(offsets)
    columns = {f"{prefix}_energy": arrays["energy"]}
    columns |= {f"{prefix}_{i}": column for i, column in enumerate(arrays["crystal_features"].T)}
    for field in ("site_energies", "magmoms"):
        if field not in arrays:
            continue
        values = np.asarray(arrays[field], dtype=np.float64)
        mean = np.add.reduceat(values, offsets[:-1]) / n_atoms
        columns[f"{prefix}_{field}_sd"] = np.sqrt(np.maximum(np.add.reduceat(values**2, offsets[:-1]) / n_atoms - mean**2, 0))
        columns[f"{prefix}_{field}_max"] = np.maximum.reduceat(values, offsets[:-1])
    return pd.DataFrame(columns)


def _installed(name: str) -> Potential:
    """Return a potential; raise ValueError if its package is not there."""
    potential = POTENTIALS[name]
    if find_spec(potential.PACKAGE) is None:
        raise ValueError(f'{potential.PACKAGE} is not installed; the open track needs it: pip install -e ".[open]"')
    return potential


def _compute_chunk(crystals: Crystals, name: str, chunk: list[int]) -> RaggedStore:
    import torch

    torch.set_num_threads(1)
    potential = POTENTIALS[name]
    with torch.no_grad():
        return RaggedStore.from_items(potential.LEVELS, potential.predict([crystals[i] for i in chunk], name))
