"""Laws of src/features/sevennet.py. Those of the potential itself need sevenn, and are skipped where it is not installed."""

import sys
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms
from conftest import CRYSTALS, random_rotation
from pymatgen.core import Element

from src.config import TargetConfig
from src.data.crystal import Crystal
from src.data.export import COUNT_COLUMNS
from src.data.table import Crystals
from src.features import sevennet
from src.features.bases import base_of
from src.features.groups import cached_features
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
    astatine = Crystal(np.eye(3) * 3, np.zeros((1, 3)), np.array([85]))
    with pytest.raises(ValueError, match=r"does not know Z = \[84, 85\], which rows \[1, 2\] contain"):
        compute_potential(Crystals.from_list([CRYSTALS["quartz"], polonium, astatine]))
    with pytest.raises(ValueError, match=NAME):
        compute_potential(Crystals.from_list([CRYSTALS["quartz"], Crystal.from_formula("SiO2")]))
    with pytest.raises(ValueError, match="is disordered, and it needs whole atoms"):
        compute_potential(Crystals.from_list([CRYSTALS["quartz"], mixed]))
    monkeypatch.setattr(sevennet, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="sevenn is not installed"):
        compute_potential(NAMED)


def test_it_knows_the_elements_of_the_competition() -> None:
    assert {Element.from_Z(z).symbol for z in ELEMENTS} == set(COUNT_COLUMNS)


class StandIn(torch.nn.Module):
    """In place of the network: its energies and vectors tell what atoms it was given, and how."""

    cutoff = 4.5

    def __init__(self) -> None:
        super().__init__()
        self.reduce_input_to_hidden, self.weight = torch.nn.Identity(), torch.nn.Parameter(torch.ones(1))
        self.key_grad, self.without, self.is_batch_data = "forces", "", True

    def delete_module_by_key(self, key: str) -> None:
        self.without = key

    def set_is_batch_data(self, flag: bool) -> None:
        self.is_batch_data = flag

    def forward(self, graph: tuple[Atoms, float]) -> dict[str, torch.Tensor]:
        atoms, cutoff = graph
        assert (self.without, self.key_grad, self.is_batch_data, self.training) == ("force_output", None, False, False)
        assert cutoff == 4.5 and atoms.pbc.all() and torch.get_num_threads() == 1
        place = torch.from_numpy(atoms.positions + atoms.cell.sum(axis=0)).float()
        self.reduce_input_to_hidden({"x": place * self.weight})
        return {"energies": (place @ torch.tensor([[1.0], [10.0], [100.0]]) + atoms.numbers[:, None]) * self.weight}


def expected_of(crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """Return what the stand-in makes of a crystal: the energies of its sites, and the mean vector."""
    place = crystal.cart_coords + crystal.lattice.sum(axis=0)
    return place @ [1, 10, 100] + crystal.atomic_numbers, place.mean(axis=0)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package whose network is the stand-in; its file."""

    def graph_of(atoms: Atoms, cutoff: float) -> tuple[Atoms, float]:
        warnings.warn("of no interest", stacklevel=2)
        return atoms, cutoff

    file = tmp_path / "sevenn" / sevennet.POTENTIAL
    file.parent.mkdir(parents=True)
    torch.save({"weights": np.ones(2)}, file)
    modules = {
        "checkpoint": {"SevenNetCheckpoint": lambda path: SimpleNamespace(build_model=StandIn) if path == file else None},
        "_keys": {"ATOMIC_ENERGY": "energies"},
        "atom_graph_data": {"AtomGraphData": SimpleNamespace(from_numpy_dict=lambda graph: graph)},
        "train.dataload": {"unlabeled_atoms_to_graph": graph_of},
    }
    for name, contents in {"": {}, "train": {}, **modules}.items():
        module = ModuleType(f"sevenn.{name}".rstrip("."))
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys.modules["sevenn"], "_keys", sys.modules["sevenn._keys"], raising=False)
    monkeypatch.setattr(sevennet, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / name / "__init__.py")))
    _model.cache_clear()
    yield file
    _model.cache_clear()


@pytest.mark.filterwarnings("error")
def test_the_potential_is_given_each_crystal_whole_and_its_answers_are_stored_once(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    store = sevennet.cached_potential(NAMED, "key", tmp_path)
    for i, crystal in enumerate(NAMED):
        (energies, vector), item = expected_of(crystal), store.item(i)
        np.testing.assert_allclose(item["site_energies"], energies, rtol=1e-5)
        np.testing.assert_allclose(item["energy"], [energies.mean()], rtol=1e-5)
        np.testing.assert_allclose(item["crystal_features"], vector[None], rtol=1e-5)
    salt = Crystals.from_list([CRYSTALS["rock salt"]])
    for key, folder in (("other", tmp_path), ("key", None)):
        found = sevennet.cached_potential(salt, key, folder)
        np.testing.assert_allclose(found.arrays["site_energies"], expected_of(salt[0])[0], rtol=1e-5)
    monkeypatch.setattr(sevennet, "compute_potential", lambda *_: pytest.fail("computed again"))
    again = sevennet.cached_potential(NAMED, "key", tmp_path)
    np.testing.assert_array_equal(again.arrays["energy"], store.arrays["energy"])
    table = cached_features(NAMED, "key", (NAME,), tmp_path)
    assert table.equals(potential_features(store).astype(np.float32)) and len(table.columns) == 6
    np.testing.assert_array_equal(base_of(TargetConfig(base=NAME), NAMED, "key", tmp_path), store.arrays["energy"])


def test_a_potential_that_would_run_something_else_when_it_is_read_is_refused(stand_in: Path) -> None:
    torch.save({"weights": np.ones(2), "more": Fraction(1, 2)}, stand_in)
    with pytest.raises(ValueError, match=r"would run fractions\.Fraction when it is read"):
        _model()


@pytest.fixture(scope="module")
def computed() -> RaggedStore:
    pytest.importorskip("sevenn", reason='sevenn is an optional extra: pip install -e ".[open]"')
    return compute_potential(NAMED)


def test_energies_are_those_of_the_package(computed: RaggedStore) -> None:
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
