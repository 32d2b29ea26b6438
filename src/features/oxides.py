"""What the Materials Project adds to the energies of peroxides and superoxides, and not to those of oxides.

DFT binds O2 too strongly, and the Materials Project corrects for it by the charge of oxygen: by -0.70 eV per atom of oxygen in
oxides, -0.47 in peroxides, -0.15 in superoxides (after Wang, Maxisch, Ceder, Phys. Rev. B 73, 195107 (2006),
doi:10.1103/PhysRevB.73.195107, for oxides; all three figures are those of pymatgen's table MPCompatibility.yaml). The shift of
oxygen in a target's reference is that of oxides. Kinds are pymatgen's at its default cutoff (1.1 times the bonds of O2 ions), and
every atom of oxygen of a crystal counts, bonded or not. Crystals with hydrogen are left as they are: among FLLA's training
crystals three of them have bonds between atoms of oxygen, and the energies of oxides. That was seen in scored rows.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.data.crystal import Crystal
from src.data.table import Crystals

HYDROGEN, OXYGEN = 1, 8


def oxide_corrections(crystals: Crystals) -> NDArray[np.float64]:
    """Return the correction of each crystal minus that of an oxide, (n_crystals,), eV/atom."""
    with_oxygen = np.flatnonzero(crystals.element_counts[:, OXYGEN] > 0)
    found = np.zeros(len(crystals))
    found[with_oxygen] = [_correction(crystals[i]) for i in with_oxygen.tolist()]
    return found


def _correction(crystal: Crystal) -> float:
    """Return the correction of a crystal with oxygen minus that of an oxide; 0 with hydrogen, and for oxygen itself."""
    from pymatgen.analysis.structure_analyzer import oxide_type  # takes a second to import

    counts, per_oxygen = crystal.element_counts, _table()
    if counts[HYDROGEN] or counts[OXYGEN] == crystal.n_atoms:
        return 0.0
    kind = str(oxide_type(crystal.to_structure()))
    return (per_oxygen.get(kind, per_oxygen["oxide"]) - per_oxygen["oxide"]) * counts[OXYGEN] / crystal.n_atoms


@lru_cache
def _table() -> dict[str, float]:
    """Return the corrections of the Materials Project's scheme of 2011, kind of oxide -> eV per atom of oxygen."""
    from pymatgen.analysis import compatibility

    table = compatibility.AnionCorrection(Path(str(compatibility.__file__)).with_name("MPCompatibility.yaml"))
    return {kind: float(getattr(value, "nominal_value", value)) for kind, value in table.oxide_correction.items()}
