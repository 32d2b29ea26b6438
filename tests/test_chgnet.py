"""Laws of src/features/potentials.py and chgnet.py. Those that need chgnet are skipped where it is not installed."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import CRYSTALS, random_rotation

from src.config import TargetConfig
from src.data.crystal import Crystal
from src.data.table import Crystals
from src.features import chgnet, potentials
from src.features.chgnet import LEVELS
from src.features.potentials import base_energies, cached_potential, compute_potential, potential_features
from src.features.tables import cached_features
from src.storage import cache
from src.storage.ragged import RaggedStore

NEEDED = 'chgnet is an optional extra: pip install -e ".[open]"'
NAMED = Crystals.from_list(list(CRYSTALS.values()))


@pytest.fixture(scope="module")
def computed() -> RaggedStore:
    pytest.importorskip("chgnet", reason=NEEDED)
    return compute_potential(NAMED)


def test_without_chgnet_the_message_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(potentials, "find_spec", lambda name: None if name == "chgnet" else find_spec(name))
    with pytest.raises(ValueError, match=r'pip install -e "\.\[open\]"'):
        base_energies(TargetConfig(base="chgnet"), NAMED, "key", tmp_path)


def test_without_a_base_the_energies_are_zero_and_chgnet_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(potentials, "find_spec", lambda name: pytest.fail(f"asked for {name}"))
    np.testing.assert_array_equal(base_energies(TargetConfig(), NAMED, "key", tmp_path), np.zeros(len(NAMED)))


@pytest.mark.parametrize("name", ["chgnet", "7net-l3i5"])
def test_an_element_that_a_potential_does_not_know_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(potentials, "find_spec", lambda name: True)
    americium = Crystal(np.eye(3) * 4, np.zeros((1, 3)), np.array([95]))
    with pytest.raises(ValueError, match=rf"{name} does not know Z = \[95\], which rows \[1\]"):
        compute_potential(Crystals.from_list([CRYSTALS["diamond"], americium]), 1, name)


def test_chunks_are_joined_in_the_order_of_the_crystals_and_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(crystals: list[Crystal], name: str) -> list[dict[str, np.ndarray]]:
        asked.append(len(crystals))
        return [
            {
                **{field: c.atomic_numbers.astype(np.float32) for field in ("site_energies", "magmoms")},
                "energy": np.array([c.volume], dtype=np.float32),
                "crystal_features": np.zeros((1, 64), dtype=np.float32),
                "atom_features": np.zeros((c.n_atoms, 64), dtype=np.float32),
            }
            for c in crystals
        ]

    asked: list[int] = []
    monkeypatch.setattr(potentials, "find_spec", lambda name: True)
    monkeypatch.setattr(cache, "version", lambda name: "0")
    monkeypatch.setattr(chgnet, "CHUNK", 3)
    monkeypatch.setattr(chgnet, "predict", predict)
    for _ in range(2):
        energies = base_energies(TargetConfig(base="chgnet"), NAMED, "key", tmp_path)
        np.testing.assert_allclose(energies, [crystal.volume for crystal in CRYSTALS.values()], rtol=1e-6)
    assert asked == [3, 3, 2]


def test_a_supercell_and_a_rotated_crystal_give_the_same(computed: RaggedStore) -> None:
    rotation = random_rotation()
    turned = [Crystal(c.lattice @ rotation, c.frac_coords, c.atomic_numbers) for c in CRYSTALS.values()]
    doubled = [
        Crystal(
            c.lattice * np.array([[2], [1], [1]]),
            np.concatenate([c.frac_coords * [0.5, 1, 1], c.frac_coords * [0.5, 1, 1] + [0.5, 0, 0]]),
            np.tile(c.atomic_numbers, 2),
        )
        for c in CRYSTALS.values()
    ]
    for others in (turned, doubled):
        other = compute_potential(Crystals.from_list(others))
        for name in ("energy", "crystal_features"):
            np.testing.assert_allclose(other.arrays[name], computed.arrays[name], atol=1e-4)


def test_energies_are_means_over_atoms_and_differ_between_crystals(computed: RaggedStore) -> None:
    assert set(computed.arrays) == set(LEVELS)
    for i in range(len(NAMED)):
        item = computed.item(i)
        assert len(item["atom_features"]) == NAMED[i].n_atoms
        assert item["energy"][0] == pytest.approx(item["site_energies"].mean(), abs=1e-5)
    assert np.ptp(computed.arrays["energy"][:7]) > 0.5


@pytest.mark.parametrize(("name", "release"), [("chgnet", "0.3.0"), ("chgnet_0.2.0", "0.2.0")])
def test_energies_are_those_of_the_package_over_its_reference(name: str, release: str, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("chgnet", reason=NEEDED)
    from chgnet.model import CHGNet

    model = CHGNet.load(use_device="cpu", model_name=release)
    graph = model.graph_converter(CRYSTALS["rutile"].to_structure())
    expected = model.predict_graph(graph, task="e")["e"] - model.composition_model([graph]).detach().numpy()[0]
    found = compute_potential(Crystals.from_list([CRYSTALS["rutile"]]), 1, name).arrays["energy"]
    assert found[0] == pytest.approx(expected, abs=1e-5)


def test_an_atom_without_neighbours_gets_an_energy() -> None:
    pytest.importorskip("chgnet", reason=NEEDED)
    lonely = Crystal(np.eye(3) * 20, np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.62]]), np.array([2, 11, 17]))
    assert np.isfinite(compute_potential(Crystals.from_list([lonely])).arrays["energy"]).all()


def test_what_is_read_from_the_cache_is_what_was_computed_and_nothing_is_printed(
    tmp_path: Path, computed: RaggedStore, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    chgnet._model.cache_clear()
    written = cached_potential(NAMED, "key", tmp_path)
    monkeypatch.setattr(potentials, "compute_potential", lambda *_: pytest.fail("computed again"))
    for store in (written, cached_potential(NAMED, "key", tmp_path)):
        assert all(isinstance(array, np.memmap) for array in store.arrays.values())
        for name in LEVELS:
            np.testing.assert_array_equal(store.arrays[name], computed.arrays[name])
    assert capfd.readouterr() == ("", "")


def test_columns_for_lightgbm_are_of_each_crystal_alone(computed: RaggedStore) -> None:
    features = potential_features(computed)
    assert features.shape == (len(NAMED), 69) and np.isfinite(features.to_numpy()).all()
    item = computed.item(4)
    assert features["chgnet_magmoms_max"][4] == pytest.approx(item["magmoms"].max())
    assert features["chgnet_site_energies_sd"][4] == pytest.approx(item["site_energies"].std(), abs=1e-5)
    np.testing.assert_array_equal(features.filter(regex=r"^chgnet_\d+$").iloc[4], item["crystal_features"][0])


def test_chgnets_columns_stand_beside_those_of_the_composition(tmp_path: Path, computed: RaggedStore) -> None:
    both = cached_features(NAMED, "key", ("fractions", "chgnet"), tmp_path)
    assert list(both.columns[-69:]) == list(potential_features(computed))
    assert both.shape == (len(NAMED), 118 + 69) and both.dtypes.eq(np.float32).all()


def test_the_mean_base_is_that_of_both_trainings(tmp_path: Path, computed: RaggedStore) -> None:
    mean, second = (
        base_energies(TargetConfig(base="chgnet_mean"), NAMED, "key", tmp_path),
        compute_potential(NAMED, 1, "chgnet_0.2.0"),
    )
    np.testing.assert_allclose(mean, (computed.arrays["energy"] + second.arrays["energy"]) / 2, atol=1e-6)
    assert np.abs(computed.arrays["energy"] - second.arrays["energy"]).max() > 1e-3
