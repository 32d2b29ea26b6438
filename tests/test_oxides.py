"""Laws of what the base of a target gets for peroxides and superoxides."""

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from src.config import TargetConfig
from src.data.crystal import Crystal
from src.data.table import Crystals
from src.features import potentials
from src.features.oxides import oxide_corrections
from src.storage.ragged import RaggedStore


def cell(bond: float, *others: str) -> Crystal:
    """Return two oxygen atoms at a distance, and others far from them and each other."""
    corners = [[0.5, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    coords = [[0, 0, 0], [0, 0, bond / 8], *corners[: len(others)]]
    return Crystal.from_structure(Structure(Lattice.cubic(8), ["O", "O", *others], coords))


OXIDE, PEROXIDE, SUPEROXIDE = cell(2.5, "Ba"), cell(1.5, "Ba", "Ba"), cell(1.33, "K")


def test_peroxides_and_superoxides_differ_from_oxides_by_the_published_corrections() -> None:
    found = oxide_corrections(Crystals.from_list([OXIDE, PEROXIDE, SUPEROXIDE]))
    np.testing.assert_allclose(found, [0, (0.70229 - 0.46622) * 2 / 4, (0.70229 - 0.14598) * 2 / 3], atol=1e-9)


def test_every_atom_of_oxygen_counts_bonded_or_not() -> None:
    lone = Structure(Lattice.cubic(8), ["O", "O", "O", "Ba"], [[0, 0, 0], [0, 0, 1.5 / 8], [0.5, 0.5, 0.2], [0.5, 0, 0.5]])
    found = oxide_corrections(Crystals.from_list([Crystal.from_structure(lone)]))
    np.testing.assert_allclose(found, (0.70229 - 0.46622) * 3 / 4, atol=1e-9)


def test_hydrogen_oxygen_itself_and_crystals_without_it_get_none() -> None:
    without = Crystal.from_structure(Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    np.testing.assert_array_equal(oxide_corrections(Crystals.from_list([cell(1.5, "Ba", "H"), cell(1.3), without])), 0)


def test_the_cell_does_not_matter() -> None:
    larger = Crystal.from_structure(PEROXIDE.to_structure() * (2, 1, 1))
    np.testing.assert_allclose(oxide_corrections(Crystals.from_list([larger])), oxide_corrections(Crystals.from_list([PEROXIDE])))


def test_the_base_has_them_if_the_reference_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crystals = Crystals.from_list([OXIDE, PEROXIDE])
    store = RaggedStore({"energy": np.array([-5.0, -4.0])}, {"crystal": np.arange(3)}, {"energy": "crystal"})
    monkeypatch.setattr(potentials, "cached_potential", lambda *args: store)
    base = TargetConfig(base="7net-0", reference="elements_and_u")
    corrected = TargetConfig(base="7net-0", reference="elements_u_and_oxides")
    plain, found = (potentials.base_energies(config, crystals, "key", tmp_path) for config in (base, corrected))
    np.testing.assert_array_equal(plain, [-5, -4])
    np.testing.assert_allclose(found - plain, oxide_corrections(crystals))


def test_they_require_a_base() -> None:
    with pytest.raises(ValueError, match="reference='elements_u_and_oxides': requires a base"):
        TargetConfig(reference="elements_u_and_oxides")
