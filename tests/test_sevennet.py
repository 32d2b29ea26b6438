"""Laws of src/features/sevennet.py. Those of the potential itself need sevenn, and are skipped where it is not installed."""

import numpy as np
import pytest
from conftest import CRYSTALS, random_rotation
from pymatgen.core import Element

from src.data.crystal import Crystal
from src.data.export import COUNT_COLUMNS
from src.data.table import Crystals
from src.features import sevennet
from src.features.sevennet import ELEMENTS, LEVEL_OF, NAME, _model, compute_potential, potential_features
from src.storage.ragged import RaggedStore

NAMED = Crystals.from_list(list(CRYSTALS.values()))


def test_the_features_of_a_crystal_are_its_energy_its_vector_and_the_spread_and_maximum_over_its_sites() -> None:
    sites = [np.array([2.0], np.float32), np.array([-3.0, 1.0, -4.0, 2.0], np.float32), np.array([0.5, 0.75], np.float32)]
    vectors = np.arange(6, dtype=np.float32).reshape(3, 1, 2)
    items = [
        {"energy": x.mean(keepdims=True), "crystal_features": v, "site_energies": x} for x, v in zip(sites, vectors, strict=True)
    ]
    found = potential_features(RaggedStore.from_items(LEVEL_OF, items))
    assert list(found) == [f"{NAME}_{name}" for name in ("energy", 0, 1, "site_energies_sd", "site_energies_max")]
    expected = [[x.mean(), *v[0], x.std(), x.max()] for x, v in zip(sites, vectors, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_the_potential_was_not_trained_on_is_refused_by_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sevennet, "find_spec", lambda name: name)
    polonium = Crystal(np.eye(3) * 3, np.zeros((1, 3)), np.array([84]))
    mixed = Crystal(np.eye(3) * 3, np.zeros((1, 3)), np.array([119]), np.eye(119)[[29]] / 2)
    with pytest.raises(ValueError, match=r"does not know Z = \[84\], which rows \[1\] contain"):
        compute_potential(Crystals.from_list([CRYSTALS["quartz"], polonium]))
    with pytest.raises(ValueError, match="is disordered, and it needs whole atoms"):
        compute_potential(Crystals.from_list([CRYSTALS["quartz"], mixed]))
    monkeypatch.setattr(sevennet, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="sevenn is not installed"):
        compute_potential(NAMED)


def test_it_knows_the_elements_of_the_competition() -> None:
    assert {Element.from_Z(z).symbol for z in ELEMENTS} == set(COUNT_COLUMNS)


@pytest.fixture(scope="module")
def computed() -> RaggedStore:
    pytest.importorskip("sevenn", reason='sevenn is an optional extra: pip install -e ".[open]"')
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


@pytest.mark.usefixtures("computed")
def test_the_elements_are_those_of_the_package() -> None:
    assert set(_model()[0].type_map) == ELEMENTS
