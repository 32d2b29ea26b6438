"""Energies of crystals by a pretrained potential, CHGNet, and the vectors that it computes them from.

Source: Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3. It was trained on relaxations of the
Materials Project (MPtrj), which contain most crystals of FLLA and their energies: on them its errors are those of a fit, not of
a generalisation. Only the open track uses it. An optional extra: `pip install -e ".[open]"`.
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

PACKAGE = "chgnet"
PRETRAINED = {  # name here -> file in the package's folder `pretrained`
    "chgnet": "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
    "chgnet_0.2.0": "0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",  # an earlier training, whose errors differ in part
}
ELEMENTS = frozenset(range(1, 95))  # up to Pu
CHUNK = 32  # crystals; also a batch, so that numbers do not depend on the number of processes
LEVELS = {
    "energy": "crystal",  # (1,), eV/atom, relative to the reference energies of the elements that CHGNet was trained with
    "crystal_features": "crystal",  # (1, 64): mean over the atoms of the vectors that give the energy
    "atom_features": "atom",  # (n_atoms, 64): before the last layer; they give the magnetic moments
    "site_energies": "atom",  # (n_atoms,), eV, their mean is `energy`
    "magmoms": "atom",  # (n_atoms,), Bohr magnetons, without sign
}


def predict(crystals: list[Crystal], name: str) -> list[dict[str, NDArray[np.float32]]]:
    """Return the fields of LEVELS for each crystal. name: one of PRETRAINED."""
    model = _model(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of noble gases without an electronegativity, of tensors turned into scalars
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


@lru_cache
def _model(name: str) -> Any:
    """Return CHGNet as CHGNet.load does, without its reference energies of the elements, executing nothing in its checkpoint."""
    import torch
    from chgnet.model import CHGNet

    package = find_spec(PACKAGE)
    path = Path(str(package.origin)).parent / "pretrained" / PRETRAINED[name] if package else Path(PRETRAINED[name])
    release = PRETRAINED[name].partition("/")[0]
    weights = torch.load(path, map_location="cpu", weights_only=True)["model"]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its number of parameters
        model: Any = CHGNet.from_dict(weights, mlp_out_bias=release == "0.2.0", version=release)
    model.composition_model = None  # energies relative to its references
    model.graph_converter.set_isolated_atom_response("ignore")  # an atom without neighbours is legal
    return model
