"""Energies of crystals from SevenNet, a pretrained potential, the vectors behind them, and their cached store.

Source: Park et al., J. Chem. Theory Comput. 20, 4857 (2024), doi:10.1021/acs.jctc.4c00190; `7net-l3i5` is its later release with
features up to degree 3. It was trained on MPtrj's uncorrected energies, so its errors on FLLA are training errors, not
generalisation. Only the open track uses it. It is an optional extra (`pip install -e ".[open]"`), imported inside functions.
"""

import contextlib
import io
import warnings
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.crystal import Crystal
from src.data.table import Crystals
from src.storage.cache import cache_key, in_chunks
from src.storage.ragged import RaggedStore

PACKAGE = "sevenn"
NAME = "7net-l3i5"  # as a base of targets, as a group of features, and in the package
POTENTIAL = Path("pretrained_potentials/SevenNet_l3i5/checkpoint_l3i5.pth")  # in the package's folder
ELEMENTS = frozenset(range(1, 95)) - {84, 85, 86, 87, 88}  # MPtrj has no Po, At, Rn, Fr, Ra
ENERGIES_PER_TASK = 16  # crystals; they are predicted one by one
LEVEL_OF = {
    "energy": "crystal",  # (1,), eV/atom, uncorrected DFT energies, with +U for some metals in oxides and fluorides
    "crystal_features": "crystal",  # (1, 128): mean over the atoms of the scalars that give the energy
    "site_energies": "atom",  # (n_atoms,), eV, their mean is `energy`
}


def cached_potential(crystals: Crystals, crystals_key: str, folder: Path | None, n_jobs: int = 1) -> RaggedStore:
    """Return the store of the potential's LEVEL_OF for all crystals in `folder`, memory-mapped; it is computed if it is missing.

    crystals_key: identifies the crystals, for instance by their hash. folder: None: nothing is written.
    Raises ValueError if the potential's package is not installed or does not know an element.
    """
    path = folder and folder / f"{NAME}-{cache_key(crystals_key, NAME, __name__)}"
    return RaggedStore.cached(path, lambda: compute_potential(crystals, n_jobs))


def compute_potential(crystals: Crystals, n_jobs: int = 1) -> RaggedStore:
    """Return the store of the potential's LEVEL_OF for all crystals in single precision."""
    if find_spec(PACKAGE) is None:
        raise ValueError(f'{PACKAGE} is not installed; the open track needs it: pip install -e ".[open]"')
    crystals.check_structures(NAME)
    if len(mixed := np.flatnonzero(crystals.is_disordered)):
        raise ValueError(f"{NAME}: {crystals.name(int(mixed[0]))} is disordered, and it needs whole atoms: leave it out")
    unknown = [z for z in range(crystals.element_counts.shape[1]) if z not in ELEMENTS]
    if len(rows := np.flatnonzero(crystals.element_counts[:, unknown].any(axis=1))):
        found = [z for z in unknown if crystals.element_counts[rows, z].any()]
        raise ValueError(f"{NAME} does not know Z = {found}, which rows {rows[:5].tolist()} contain: leave them out")
    compute, n = partial(_compute_chunk, crystals), len(crystals)
    return RaggedStore.concatenate(in_chunks(compute, range(n), n, ENERGIES_PER_TASK, NAME, n_jobs, worth_workers=100))


def potential_features(potential: RaggedStore) -> pd.DataFrame:
    """Return one row for each crystal: energy, crystal features, spread and maximum of the energies of sites.

    potential: a store of `cached_potential`.
    """
    arrays, offsets = potential.arrays, potential.offsets["atom"]
    n_atoms = np.diff(offsets)
    columns = {f"{NAME}_energy": arrays["energy"]}
    columns |= {f"{NAME}_{i}": column for i, column in enumerate(arrays["crystal_features"].T)}
    values = np.asarray(arrays["site_energies"], dtype=np.float64)
    mean = np.add.reduceat(values, offsets[:-1]) / n_atoms
    columns[f"{NAME}_site_energies_sd"] = np.sqrt(np.maximum(np.add.reduceat(values**2, offsets[:-1]) / n_atoms - mean**2, 0))
    columns[f"{NAME}_site_energies_max"] = np.maximum.reduceat(values, offsets[:-1])
    return pd.DataFrame(columns)


def _compute_chunk(crystals: Crystals, chunk: list[int]) -> RaggedStore:
    import torch

    torch.set_num_threads(1)
    with torch.no_grad():
        return RaggedStore.from_items(LEVEL_OF, [_predict(crystals[i], *_model()) for i in chunk])


@lru_cache
def _model() -> tuple[Any, list[NDArray[np.float32]]]:
    """Return SevenNet without forces, and a list to which it writes the atoms' scalars whenever it is called."""
    import torch
    from sevenn.checkpoint import SevenNetCheckpoint

    package = find_spec(PACKAGE)
    path = Path(str(package.origin)).parent / POTENTIAL if package else POTENTIAL
    if foreign := [known for known in torch.serialization.get_unsafe_globals_in_checkpoint(path) if "numpy" not in known]:
        raise ValueError(f"{path} would run {', '.join(foreign)} when it is read; install sevenn again")
    with contextlib.redirect_stdout(io.StringIO()):
        model: Any = SevenNetCheckpoint(path).build_model()
    model.delete_module_by_key("force_output")
    model.key_grad = None
    model.set_is_batch_data(False)
    scalars: list[NDArray[np.float32]] = []
    model.reduce_input_to_hidden.register_forward_pre_hook(lambda _, inputs: scalars.append(inputs[0]["x"].numpy().copy()))
    return model.eval(), scalars


def _predict(crystal: Crystal, model: Any, scalars: list[NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    import sevenn._keys as keys
    from ase import Atoms
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph

    atoms = Atoms(crystal.atomic_numbers, scaled_positions=crystal.frac_coords, cell=crystal.lattice, pbc=True)
    scalars.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, model.cutoff))
        energies = model(graph)[keys.ATOMIC_ENERGY].numpy().reshape(-1)
    return {
        "energy": energies.mean(keepdims=True, dtype=np.float64).astype(np.float32),
        "crystal_features": scalars[0].mean(axis=0, keepdims=True),
        "site_energies": energies,
    }
