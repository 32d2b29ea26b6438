"""Laws of src/features/sevennet.py. They need sevenn, and are skipped where it is not installed."""

import numpy as np
import pytest
from conftest import CRYSTALS, random_rotation

from src.data.crystal import Crystal
from src.data.table import Crystals
from src.features.sevennet import ELEMENTS, LEVEL_OF, _model, compute_potential, potential_features
from src.storage.ragged import RaggedStore

pytest.importorskip("sevenn", reason='sevenn is an optional extra: pip install -e ".[open]"')
NAMED = Crystals.from_list(list(CRYSTALS.values()))


@pytest.fixture(scope="module")
def computed() -> RaggedStore:
    return compute_potential(NAMED)


def test_energies_are_those_of_the_package(computed: RaggedStore) -> None:
    from ase import Atoms
    from sevenn.calculator import SevenNetCalculator

    calculator = SevenNetCalculator("7net-l3i5", device="cpu")
    for i, crystal in enumerate(NAMED):
        atoms = Atoms(crystal.atomic_numbers, scaled_positions=crystal.frac_coords, cell=crystal.lattice, pbc=True)
        atoms.calc = calculator
        np.testing.assert_allclose(computed.item(i)["site_energies"], atoms.get_potential_energies(), atol=1e-5)


def test_a_rotated_crystal_gives_the_same(computed: RaggedStore) -> None:
    rotation = random_rotation()
    turned = [Crystal(c.lattice @ rotation, c.frac_coords, c.atomic_numbers) for c in NAMED]
    other = compute_potential(Crystals.from_list(turned))
    for field in ("energy", "crystal_features"):
        np.testing.assert_allclose(other.arrays[field], computed.arrays[field], atol=2e-3)  # features of about 10


def test_energies_and_features_are_means_over_atoms(computed: RaggedStore) -> None:
    store = computed
    assert set(store.arrays) == set(LEVEL_OF)
    model, _ = _model()
    for i, crystal in enumerate(NAMED):
        item = store.item(i)
        assert len(item["site_energies"]) == crystal.n_atoms
        assert item["energy"][0] == pytest.approx(item["site_energies"].mean(), abs=1e-6)
    assert potential_features(store).shape == (len(NAMED), 131)
    diamond = store.item(list(CRYSTALS).index("diamond"))  # its atoms are equal: the head gives their energy from the mean
    head = model.reduce_hidden_to_energy.linear.weight.detach().numpy()
    hidden = model.reduce_input_to_hidden.linear.weight.detach().numpy().reshape(128, -1)
    unscaled = diamond["crystal_features"][0] @ hidden @ head / np.sqrt(hidden.size)
    rescale = model.rescale_atomic_energy
    scaled = unscaled * rescale.scale.max().item() + rescale.shift[model.type_map[6]].item()
    assert diamond["energy"][0] == pytest.approx(scaled, abs=1e-4)


def test_the_elements_are_those_of_the_package() -> None:
    assert set(_model()[0].type_map) == ELEMENTS
