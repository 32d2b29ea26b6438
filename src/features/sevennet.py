"""Energies of crystals by a pretrained potential, SevenNet, and the vectors that it computes them from.

Source: Park et al., J. Chem. Theory Comput. 20, 4857 (2024), doi:10.1021/acs.jctc.4c00190; `7net-l3i5` is its later release with
features up to degree 3. Both were trained on MPtrj's uncorrected energies, as CHGNet on corrected ones: on FLLA their errors are
those of a fit, not of a generalisation. Only the open track uses them. An optional extra: `pip install -e ".[open]"`.
"""

import contextlib
import io
import warnings
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.data.crystal import Crystal

PACKAGE = "sevenn"
PRETRAINED = {  # name here and there -> file in the package's folder `pretrained_potentials`
    "7net-l3i5": "SevenNet_l3i5/checkpoint_l3i5.pth",
    "7net-0": "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
}
ELEMENTS = frozenset(range(1, 95)) - {84, 85, 86, 87, 88}  # MPtrj has no Po, At, Rn, Fr, Ra
CHUNK = 16  # crystals; they are predicted one by one
LEVELS = {
    "energy": "crystal",  # (1,), eV/atom, uncorrected DFT energies, with +U for some metals in oxides and fluorides
    "crystal_features": "crystal",  # (1, 128): mean over the atoms of the scalars that give the energy
    "site_energies": "atom",  # (n_atoms,), eV, their mean is `energy`
}


def predict(crystals: list[Crystal], name: str) -> list[dict[str, NDArray[np.float32]]]:
    """Return the fields of LEVELS for each crystal. name: one of PRETRAINED."""
    return [_predict(crystal, *_model(name)) for crystal in crystals]


@lru_cache
def _model(name: str) -> tuple[Any, list[NDArray[np.float32]]]:
    """Return SevenNet without its forces, and a list into which it puts the atoms' scalars whenever it is called."""
    import torch
    from sevenn.checkpoint import SevenNetCheckpoint

    package = find_spec(PACKAGE)
    path = Path(str(package.origin)).parent / "pretrained_potentials" / PRETRAINED[name] if package else Path(PRETRAINED[name])
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
