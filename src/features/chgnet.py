"""Energies of crystals by a pretrained potential, CHGNet, and the vectors that it computes them from.

Source: Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3. It was trained on relaxations of the
Materials Project (MPtrj), which contain most crystals of FLLA and their energies: on them its errors are those of a fit, not of
a generalisation. Only the open track uses it. An optional extra: `pip install -e ".[open]"`.
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

from src.config import TargetConfig
from src.data.crystal import Crystal
from src.data.table import Crystals
from src.storage import ragged
from src.storage.cache import cache_key, in_chunks
from src.storage.ragged import RaggedStore

PRETRAINED = {  # name here -> file in the package's folder `pretrained`
    "chgnet": "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
    "chgnet_0.2.0": "0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",  # an earlier training, whose errors differ in part
}
BASES: dict[str, tuple[str, ...]] = {"none": (), "chgnet": ("chgnet",), "chgnet_mean": tuple(PRETRAINED)}
MAX_Z = 94  # the heaviest element of its tables, Pu
CHUNK = 32  # crystals; also a batch, so that numbers do not depend on the number of processes
LEVELS = {
    "energy": "crystal",  # (1,), eV/atom, relative to the reference energies of the elements that CHGNet was trained with
    "crystal_features": "crystal",  # (1, 64): mean over the atoms of the vectors that give the energy
    "atom_features": "atom",  # (n_atoms, 64): before the last layer; they give the magnetic moments
    "site_energies": "atom",  # (n_atoms,), eV, their mean is `energy`
    "magmoms": "atom",  # (n_atoms,), Bohr magnetons, without sign
}


def cached_potential(crystals: Crystals, crystals_key: str, folder: Path, n_jobs: int = 1, name: str = "chgnet") -> RaggedStore:
    """Return the store of LEVELS for all crystals in `folder`, memory-mapped; it is computed if it is missing.

    crystals_key: identifies the crystals, for instance by their hash. name: one of PRETRAINED.
    Raises ValueError if chgnet is not installed or does not know an element.
    """
    _require_chgnet()
    key = cache_key(crystals_key, name, (__file__, ragged.__file__), ("chgnet", "pymatgen-core", "numpy", "torch"))
    return RaggedStore.cached(folder / f"{name}-{key}", lambda: compute_potential(crystals, n_jobs, name))


def base_energies(
    config: TargetConfig, crystals: Crystals, crystals_key: str, folder: Path, n_jobs: int = 1
) -> NDArray[np.float64]:
    """Return (n_crystals,), eV/atom: the mean of the energies that the target's base names, zeros if it names none."""
    names = BASES[config.base]
    energies = [cached_potential(crystals, crystals_key, folder, n_jobs, name).arrays["energy"] for name in names]
    return np.mean(energies, axis=0, dtype=np.float64) if names else np.zeros(len(crystals))


def compute_potential(crystals: Crystals, n_jobs: int = 1, name: str = "chgnet") -> RaggedStore:
    """Return the store of LEVELS for all crystals in single precision. name: one of PRETRAINED."""
    _require_chgnet()
    crystals.check_structures(name)
    heavy = np.flatnonzero(crystals.element_counts[:, MAX_Z + 1 :].any(axis=1))
    if len(heavy):
        raise ValueError(
            f"CHGNet knows elements up to Z = {MAX_Z}; rows {heavy[:5].tolist()} contain heavier ones: leave them out"
        )
    compute, n = partial(_compute_chunk, crystals, name), len(crystals)
    return RaggedStore.concatenate(in_chunks(compute, range(n), n, CHUNK, name, n_jobs, worth_workers=100))


def potential_features(potential: RaggedStore, prefix: str = "chgnet") -> pd.DataFrame:
    """Return one row for each crystal: energy, crystal features, spread and maximum of site energies and magnetic moments.

    potential: a store of `cached_potential`.
    """
    arrays, offsets = potential.arrays, potential.offsets["atom"]
    n_atoms = np.diff(offsets)
    columns = {f"{prefix}_energy": arrays["energy"]}
    columns |= {f"{prefix}_{i}": column for i, column in enumerate(arrays["crystal_features"].T)}
    for field in ("site_energies", "magmoms"):
        values = np.asarray(arrays[field], dtype=np.float64)
        mean = np.add.reduceat(values, offsets[:-1]) / n_atoms
        columns[f"{prefix}_{field}_sd"] = np.sqrt(np.maximum(np.add.reduceat(values**2, offsets[:-1]) / n_atoms - mean**2, 0))
        columns[f"{prefix}_{field}_max"] = np.maximum.reduceat(values, offsets[:-1])
    return pd.DataFrame(columns)


def _require_chgnet() -> None:
    if find_spec("chgnet") is None:
        raise ValueError('chgnet is not installed; the open track needs it: pip install -e ".[open]"')


@lru_cache
def _model(name: str) -> Any:
    """Return CHGNet as CHGNet.load does, without its reference energies of the elements, executing nothing in its checkpoint."""
    import torch
    from chgnet.model import CHGNet

    package = find_spec("chgnet")
    path = Path(str(package.origin)).parent / "pretrained" / PRETRAINED[name] if package else Path(PRETRAINED[name])
    release = PRETRAINED[name].partition("/")[0]
    weights = torch.load(path, map_location="cpu", weights_only=True)["model"]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its number of parameters
        model: Any = CHGNet.from_dict(weights, mlp_out_bias=release == "0.2.0", version=release)
    model.composition_model = None  # energies relative to its references
    model.graph_converter.set_isolated_atom_response("ignore")  # an atom without neighbours is legal
    return model


def _compute_chunk(crystals: Crystals, name: str, chunk: list[int]) -> RaggedStore:
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of noble gases without an electronegativity, of tensors turned into scalars
        predicted = _predict([crystals[i] for i in chunk], name)
    return RaggedStore.from_items(LEVELS, predicted)


def _predict(crystals: list[Crystal], name: str) -> list[dict[str, NDArray[np.float32]]]:
    """Return the fields of LEVELS for each crystal."""
    model = _model(name)
    graphs = [model.graph_converter(crystal.to_structure()) for crystal in crystals]
    wanted = {"return_site_energies": True, "return_atom_feas": True, "return_crystal_feas": True}
    found = model.predict_graph(graphs, task="em", batch_size=CHUNK, **wanted)
    found = [found] if len(crystals) == 1 else found  # for one graph it returns no list
    return [
        {
            "energy": one["e"].reshape(1),
            "crystal_features": one["crystal_fea"][None] / crystal.n_atoms,  # it sums over the atoms
            "atom_features": one["atom_fea"],
            "site_energies": one["site_energies"],
            "magmoms": one["m"],
        }
        for crystal, one in zip(crystals, found, strict=True)
    ]
