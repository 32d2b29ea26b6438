"""Disordered crystals: sites that several elements share, or that are vacant in part of the cells."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CRYSTALS, NETWORK, load, run, small_table
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from src.config import AlignnConfig, CgcnnConfig, ExperimentConfig, FoldConfig, GbdtConfig, GraphConfig, NequipConfig
from src.data.crystal import Crystal, reduced
from src.data.export import write_task
from src.data.formats import crystal_in
from src.data.table import Crystals, contradictions
from src.features.groups import FORMULA_GROUPS, STRUCTURE_GROUPS, cached_features
from src.features.similarity import likeness
from src.graphs.batch import batch_from_graphs
from src.graphs.dataset import build_store
from src.graphs.graph import build_graph
from src.learners.gnn import GraphInputs
from src.models.members import make_network
from src.predict import Predictor

GRAPH = GraphConfig(r_max=4.0, r_angle=3.0, radius_exponent=0.5)
SMALL = {
    "nequip": NequipConfig(n_channels=4, n_layers=2, radial_hidden=(8,), head_hidden=(4,), n_element_attributes=3),
    "cgcnn": CgcnnConfig(),
    "alignn": AlignnConfig(),
}
SUM = {"nequip, sum": replace(SMALL["nequip"], readout="sum")}
GROUPS = (*FORMULA_GROUPS, *STRUCTURE_GROUPS)


def salt(on_na: dict[str, float] | str = "Na", on_cl: dict[str, float] | str = "Cl") -> Structure:
    """Return a cubic cell of rock salt with the given species on the sites of both kinds."""
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), [on_na, on_cl], [[0, 0, 0], [0.5, 0.5, 0.5]])


def energies(name: str, *crystals: Crystal, reduce: bool = True) -> torch.Tensor:
    """Return the values of a network. reduce: its graphs by symmetry."""
    torch.manual_seed(0)
    network = make_network((SMALL | SUM)[name], GRAPH, torch.randn(119, 6), 8.0).double().eval()
    with torch.no_grad():
        return network(batch_from_graphs([build_graph(crystal, GRAPH, reduce=reduce) for crystal in crystals]))


def features(*structures: Structure) -> np.ndarray:
    crystals = Crystals.from_list([Crystal.from_structure(one) for one in structures])
    return cached_features(crystals, "", GROUPS, None).to_numpy()


def test_elements_share_a_site_whatever_their_order_and_equal_sites_are_one_class() -> None:
    one, other = (Crystal.from_structure(salt(on)) for on in ({"K": 0.25, "Na": 0.75}, {"Na": 0.75, "K": 0.25}))
    for crystal in (one, other):
        assert sorted(set(crystal.atomic_numbers)) == [17, 119] and len(crystal.mixtures) == 1
        assert {z: n for z, n in enumerate(crystal.element_counts) if n} == {11: 3, 17: 4, 19: 1}
    np.testing.assert_array_equal(one.mixtures, other.mixtures)
    thirds = Crystal.from_structure(salt({"Na": 1 / 3, "K": 2 / 3})).mixtures
    np.testing.assert_array_equal(thirds[0, [11, 19]], [0.33333333, 0.66666667])
    same, another = (reduced(np.array([[1, 3.0], [2, 6 + d], [2, 6.0]])) for d in (3e-8, 1e-6))
    assert (same[0] == same[1]).all() and (another[0] != another[1]).all() and (same[0] == same[2]).all()
    assert one.reduced_formula == "KNa3Cl4"
    assert len(build_graph(one, GRAPH).orbit_z) == 2


@pytest.mark.parametrize("on_na", ["Na", {"Na": 1.0}, {"Na+": 0.5, "Na": 0.5}, {"Na": 0.999}])
def test_a_whole_atom_is_ordered_however_it_is_written(on_na: dict[str, float]) -> None:
    crystal, ordered = Crystal.from_structure(salt(on_na)), Crystal.from_structure(salt())
    for name, values in vars(ordered).items():
        np.testing.assert_array_equal(getattr(crystal, name), values)


@pytest.mark.parametrize("form", ["json", "cif", "cif with symmetry"])
def test_disorder_is_read_from_every_format_that_has_it(form: str) -> None:
    structure = salt({"Na": 0.7, "K": 0.3}, {"Cl": 0.9})
    text = json.dumps(structure.as_dict()) if form == "json" else str(CifWriter(structure, 1e-3 if "with" in form else None))
    crystal = crystal_in(text, "json" if form == "json" else "cif")
    np.testing.assert_allclose(crystal.element_counts[[11, 17, 19]], [2.8, 3.6, 1.2], rtol=0, atol=1e-12)
    assert Crystal.from_structure(crystal.to_structure()).reduced_formula == crystal.reduced_formula


@pytest.mark.parametrize(
    ("crystal", "counts", "wrong"),
    [
        (salt({"Na": 0.75, "K": 0.25}), {"Na": "3.01", "K": "0.99", "Cl": "4"}, []),  # rounded, by up to 0.016 of 8 atoms
        (salt({"Na": 0.75, "K": 0.25}), {"Na": "3.02", "K": "1", "Cl": "4"}, ["Na='3.02' but 3.0 in the structure"]),
        (salt(), {"Na": "4.01", "Cl": "4"}, ["Na='4.01' but 4 in the structure"]),
        (salt(), {"Na": "4", "Xe": "0"}, ["no count column for Cl"]),
        ("Fe2O3", {"Fe": "0.4025", "O": "0.6", "nsites": "7"}, []),  # within 0.002 of all atoms
        ("Fe2O3", {"Fe": "0.404", "O": "0.6"}, ["O='0.6' but 3 in the formula", "Fe='0.404' but 2 in the formula"]),
    ],
)
def test_counts_of_atoms_may_be_rounded_where_they_are_no_whole_numbers(
    crystal: Structure | str, counts: dict[str, str], wrong: list[str]
) -> None:
    known = Crystal.from_formula(crystal) if isinstance(crystal, str) else Crystal.from_structure(crystal)
    assert contradictions(known, counts) == [f"composition contradicts the counts: {', '.join(wrong)}"] * bool(wrong)


@pytest.mark.parametrize(("other", "good"), [("0.495", True), ("0.505", True), ("0.6", False), ("0", False), ("nan", False)])
def test_occupancies_sum_to_one_or_less(other: str, good: bool) -> None:
    text = str(CifWriter(salt({"Na": 0.5, "K": 0.4321}))).replace("0.4321", other)
    if good:
        np.testing.assert_allclose(Crystal.from_cif(text).mixtures.sum(), 1, rtol=0, atol=1e-8)
        return
    with pytest.raises(ValueError, match="occupanc"):
        Crystal.from_cif(text)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_sees_the_limits_of_full_and_of_empty_sites(name: str) -> None:
    """Nearly all Na is Na; a site that is nearly always empty is none; and the mean is neither of the ends."""
    shares = [{"Na": 1 - 1e-6, "K": 1e-6}, {"Na": 0.5, "K": 0.5}]
    ordered, nearly, half = energies(name, *(Crystal.from_structure(salt(on)) for on in ("Na", *shares)))
    assert abs(nearly - ordered) < 1e-4 < abs(half - ordered)
    perovskite = CRYSTALS["perovskite"].to_structure()
    empty, vacant = perovskite.copy(), perovskite.copy()
    empty.remove_species(["Sr"])
    vacant.replace_species({"Sr": {"Sr": 1e-6}})
    gone, left, full = energies(name, *map(Crystal.from_structure, (empty, vacant, perovskite)))
    assert abs(left - gone) < 1e-4 < abs(full - gone)


def perovskites(*shares: float) -> list[Crystal]:
    """Return the perovskite without Sr, with it on a share of its sites, and with it."""
    full = CRYSTALS["perovskite"]
    empty = full.to_structure()
    empty.remove_species(["Sr"])
    numbers, mixtures = np.where(full.atomic_numbers == 38, 119, full.atomic_numbers), np.eye(119)[[38]]
    partial = [Crystal(full.lattice, full.frac_coords, numbers, share * mixtures) for share in shares]
    return [Crystal.from_structure(empty), *partial, full]


def test_a_sum_over_atoms_has_the_limits_of_full_and_of_empty_sites_and_grows_with_the_cell() -> None:
    crystals = perovskites(1e-6, 0.5, 1 - 1e-6)
    gone, left, half, nearly, full = energies("nequip, sum", *crystals)
    assert abs(left - gone) < 1e-4 < abs(half - gone) and abs(nearly - full) < 1e-4 < abs(half - full)
    doubled = Crystal.from_structure(crystals[2].to_structure() * (2, 1, 1))
    torch.testing.assert_close(energies("nequip, sum", doubled), 2 * half[None], rtol=0, atol=1e-8)


def test_the_mean_number_of_neighbours_has_the_limits_of_full_and_of_empty_sites() -> None:
    """Beside another crystal, so that the weights of both count."""
    found = []
    for crystal in perovskites(1e-6, 1 - 1e-6):
        store = build_store(Crystals.from_list([crystal, CRYSTALS["rutile"]]), GRAPH)
        found.append(GraphInputs(store, np.arange(2)).avg_n_neighbors)
    gone, left, nearly, full = found
    assert abs(left - gone) < 1e-4 and abs(nearly - full) < 1e-4 < abs(full - gone)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_gives_a_disordered_supercell_the_value_of_its_primitive_cell(name: str) -> None:
    structure = salt({"Na": 0.5, "K": 0.3}, {"Cl": 0.6, "Br": 0.4})
    cells = structure.get_primitive_structure(), structure, structure * (2, 1, 1)
    values = energies(name, *map(Crystal.from_structure, cells))
    torch.testing.assert_close(values[1:], values[:1].expand(2), rtol=0, atol=1e-9)
    full = energies(name, Crystal.from_structure(cells[0]), reduce=False)
    torch.testing.assert_close(full, values[:1], rtol=0, atol=1e-9)


def test_a_batch_of_ordered_and_disordered_crystals_is_padded_without_effect() -> None:
    from src.graphs.batch import pad, padded_sizes

    crystals = [CRYSTALS["rutile"], Crystal.from_structure(salt({"Na": 0.5, "K": 0.5}))]
    batch = batch_from_graphs([build_graph(crystal, GRAPH) for crystal in crystals])
    torch.manual_seed(0)
    network = make_network(SMALL["nequip"], GRAPH, torch.randn(119, 6), 8.0).double().eval()
    with torch.no_grad():
        torch.testing.assert_close(network(pad(batch, padded_sizes(batch, {})))[:2], network(batch), rtol=0, atol=1e-12)
    ordered = batch_from_graphs([build_graph(crystals[0], GRAPH)])
    assert padded_sizes(ordered, {})["mixture"] == 0 < padded_sizes(ordered, {"mixture": 5})["mixture"]


def test_features_are_finite_continuous_and_those_of_the_primitive_cell() -> None:
    half, nearly = salt({"Na": 0.5, "K": 0.5}), salt({"Na": 1 - 1e-6, "K": 1e-6})
    first, again, limit, ordered = features(half, half.get_primitive_structure() * (2, 1, 1), nearly, salt())
    np.testing.assert_allclose(again, first, rtol=0, atol=1e-5)
    assert np.isfinite(first).all() and (first != ordered).any()
    columns = cached_features(Crystals.from_list([CRYSTALS["rutile"]]), "", GROUPS, None).columns
    jumps = {name for name, a, b in zip(columns, limit, ordered, strict=True) if abs(a - b) > 1e-2}
    assert jumps <= {name for name in columns if is_discrete(name)}
    alike = likeness(Crystals.from_list([Crystal.from_structure(one) for one in (nearly, salt())]))
    np.testing.assert_allclose(*alike.shape, rtol=0, atol=1e-5)
    np.testing.assert_allclose(*alike.bond, rtol=0, atol=1e-5)


def is_discrete(name: str) -> bool:
    """Return whether a feature counts elements or extremes, or needs whole amounts or charges, which disordered crystals lack."""
    words = "minimum maximum range mode 0-norm charge guess ewald bond_valence instab odd whole formula_atoms full"
    return any(word in name.lower() for word in words.split())


def test_disordered_rows_are_trained_on_and_predicted(tmp_path: Path) -> None:
    rows = small_table(36)
    for i, calcium in ((3, 0.2), (11, 0.4), (32, 0.4)):
        structure = Crystal.from_cif(rows.loc[i, "cif"]).to_structure()
        structure.replace(0, {structure[0].specie: 0.6, "Ca": calcium})
        rows.loc[i, "cif"] = structure.to(fmt="cif")
    columns = ["id", "cif", "formation_energy_per_atom"]
    write_task(tmp_path / "small", rows[columns][:30], rows[columns][30:])
    data = load(tmp_path / "small")
    trees = ExperimentConfig(GbdtConfig(features=("fractions", "magpie", "geometry"), n_trees=10), FoldConfig(n_folds=2))
    for name, config in (("exp001", trees), ("exp010", ExperimentConfig(NETWORK, FoldConfig(n_folds=2)))):
        run(data, config, name)
        predictor = Predictor.load(name[3:], task=tmp_path / "small", outputs=data.outputs)
        found = predictor.predict([data.test.crystals[i] for i in range(6)])
        tested = pd.read_csv(data.folder / name / "test.csv")
        np.testing.assert_allclose(found["prediction"], tested["e_form_pred"], rtol=1e-6)
        assert found["formula"].iloc[2].count("Ca") == 1
