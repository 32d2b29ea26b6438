"""Laws of the structure statistics: one crystal, one row, whatever cell describes it."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS, random_rotation
from matminer.featurizers.site import LocalPropertyDifference
from matminer.featurizers.structure import (
    ChemicalOrdering,
    DensityFeatures,
    MaximumPackingEfficiency,
    SiteStatsFingerprint,
    StructuralHeterogeneity,
)
from pymatgen.core import Lattice, Structure

from src.data.crystal import Crystal
from src.data.table import Crystals
from src.features import groups
from src.features.charges import CHARGES
from src.features.geometry import GEOMETRY, lattice_lengths, primitive_crystal
from src.features.groups import STRUCTURE_GROUPS, cached_features, finite_features, structure_features

ALL = tuple(STRUCTURE_GROUPS)
EXTREME = {
    "solid argon": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.26), ["Ar"], [[0, 0, 0]]),
    "xenon fluoride": Structure.from_spacegroup("I4/mmm", Lattice.tetragonal(4.3, 6.99), ["Xe", "F"], [[0, 0, 0], [0, 0, 0.28]]),
    "plutonium": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.64), ["Pu"], [[0, 0, 0]]),
    "dilute helium": Structure(Lattice.cubic(11), ["He"], [[0, 0, 0]]),
    "slab": Structure(Lattice.tetragonal(4.1, 22.8), ["Sn", "S"], [[0, 0, 0], [0.5, 0.5, 0.03]]),
    "alloy": Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.75), ["Cu", "Au"], [[0, 0.5, 0.5], [0, 0, 0]]),
}
STRUCTURES = {**{name: crystal.to_structure() for name, crystal in CRYSTALS.items()}, **EXTREME}
EVERY = pytest.mark.parametrize("name", STRUCTURES)


def row(described: Structure, groups: tuple[str, ...] = ALL) -> np.ndarray:
    return structure_features(Crystals.from_list([Crystal.from_structure(described)]), groups).to_numpy()[0]


def same(name: str, other: Structure) -> None:
    np.testing.assert_allclose(row(other), row(STRUCTURES[name]), rtol=1e-5, atol=1e-5)


@EVERY
def test_a_rotated_crystal_has_the_same_features(name: str) -> None:
    s = STRUCTURES[name]
    same(name, Structure(Lattice(s.lattice.matrix @ random_rotation().T), s.species, s.frac_coords))


@EVERY
def test_a_supercell_has_the_same_features(name: str) -> None:
    same(name, STRUCTURES[name] * (2, 1, 1))


@EVERY
def test_a_skewed_and_shifted_cell_with_shuffled_atoms_has_the_same_features(name: str) -> None:
    s = STRUCTURES[name]
    basis = np.array([[1, 1, 0], [0, 1, 0], [0, -2, 1]])
    frac = (s.frac_coords + np.array([0.13, 0.27, 0.41])) @ np.linalg.inv(basis)
    order = np.random.default_rng(3).permutation(len(s))
    same(name, Structure(Lattice(basis @ s.lattice.matrix), [s.species[i] for i in order], frac[order]))


@EVERY
def test_groups_that_say_so_are_finite(name: str) -> None:
    finite = tuple(group for group in STRUCTURE_GROUPS if STRUCTURE_GROUPS[group].is_finite)
    values = structure_features(Crystals.from_list([Crystal.from_structure(STRUCTURES[name])]), finite)
    assert np.isfinite(values.to_numpy()).all()
    assert list(values.columns) == [column for group in finite for column in STRUCTURE_GROUPS[group].columns]


def test_networks_get_finite_values_or_the_names_of_those_that_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crystals = Crystals.from_list([CRYSTALS["diamond"], CRYSTALS["quartz"]])
    assert finite_features(crystals, "key", ("geometry", "charges"), tmp_path).shape == (2, len(GEOMETRY) + len(CHARGES))
    monkeypatch.setattr(groups, "cached_features", lambda *_: pd.DataFrame({"a": [1.0, 2.0], "b": [np.nan, 1.0]}))
    with pytest.raises(ValueError, match="b undefined for 1 crystals"):
        finite_features(crystals, "key", ("voronoi",), tmp_path)


@pytest.mark.parametrize("name", ["perovskite", "triclinic"])
def test_voronoi_statistics_are_those_of_matminer(name: str) -> None:
    cell = primitive_crystal(CRYSTALS[name]).structure
    ours = structure_features(Crystals.from_list([CRYSTALS[name]]), ("voronoi",)).iloc[0]
    effective = SiteStatsFingerprint.from_preset("CoordinationNumber_ward-prb-2017").featurize(cell)
    names = ("minimum", "maximum", "range", "mean", "avg_dev")
    expected = dict(zip(names, effective, strict=True))
    assert ours["coordination_mean"] == pytest.approx(expected["mean"], rel=1e-5)
    assert ours["coordination_avg_dev"] == pytest.approx(expected["avg_dev"], abs=1e-5)
    heterogeneity = StructuralHeterogeneity()
    expected = dict(zip(heterogeneity.feature_labels(), heterogeneity.featurize(cell), strict=True))
    assert ours["bond_length_avg_dev"] == pytest.approx(expected["mean absolute deviation in relative bond length"], abs=1e-5)
    assert ours["bond_length_variation_mean"] == pytest.approx(expected["mean neighbor distance variation"], abs=1e-5)
    assert ours["cell_volume_variation"] == pytest.approx(expected["mean absolute deviation in relative cell size"], abs=1e-5)
    assert ours["packing_efficiency"] == pytest.approx(MaximumPackingEfficiency().featurize(cell)[0], rel=1e-5)
    assert ours["ordering"] == pytest.approx(ChemicalOrdering(shells=(1,)).featurize(cell)[0], abs=1e-5)
    local = SiteStatsFingerprint(LocalPropertyDifference(properties=("Electronegativity",)), ("mean", "avg_dev"))
    expected_mean, expected_dev = local.featurize(cell)
    assert ours["neighbor_difference_Electronegativity_mean"] == pytest.approx(expected_mean, rel=1e-5)
    assert ours["neighbor_difference_Electronegativity_avg_dev"] == pytest.approx(expected_dev, abs=1e-5)


@pytest.mark.parametrize("name", ["rutile", "triclinic", "alloy", "plutonium"])
def test_geometry_is_that_of_matminer(name: str) -> None:
    ours = structure_features(Crystals.from_list([Crystal.from_structure(STRUCTURES[name])]), ("geometry",)).iloc[0]
    expected = DensityFeatures().featurize(STRUCTURES[name])
    np.testing.assert_allclose(ours[["density", "volume_per_atom", "packing_fraction"]], expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["slab", "solid argon", "dilute helium"])
def test_voronoi_cells_fill_a_cell_with_vacuum(name: str) -> None:
    assert np.isfinite(row(STRUCTURES[name], ("voronoi",))).all()


def test_known_numbers() -> None:
    table = structure_features(Crystals.from_list([CRYSTALS["diamond"], CRYSTALS["rock salt"]]), ALL)
    np.testing.assert_allclose(table["min_distance"], [3.567 * np.sqrt(3) / 4, 5.64 / 2])
    np.testing.assert_allclose(np.exp(table["log_point_group_order"]), 48)
    np.testing.assert_allclose(table[["is_cubic", "is_centrosymmetric", "has_charges"]], 1)
    np.testing.assert_allclose(table["orbits_per_atom"], [0.5, 1])
    madelung = 1.747565 * 14.399645 / (5.64 / 2) / 2  # eV/atom
    np.testing.assert_allclose(table["ewald_energy_per_atom"], [0, -madelung], rtol=1e-5)
    assert table["coordination_mean"][1] == pytest.approx(6, rel=1e-3)


def test_lattice_lengths_change_continuously_where_a_reduced_cell_jumps() -> None:
    almost = [Lattice.from_parameters(3, 4, 5, 90, 90, angle).matrix for angle in (90 - 1e-6, 90 + 1e-6)]
    np.testing.assert_allclose(*map(lattice_lengths, almost), atol=1e-6)
    cubic = [1, 1, 1, np.sqrt(2), np.sqrt(2), np.sqrt(2), np.sqrt(3)]
    np.testing.assert_allclose(lattice_lengths(np.eye(3) * 7), cubic)


def test_a_group_that_fails_is_nan_and_counted_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(crystal: object) -> list[float]:
        raise ValueError("no such thing")

    monkeypatch.setitem(groups.STRUCTURE_GROUPS, "voronoi", STRUCTURE_GROUPS["voronoi"]._replace(compute=fails))
    with caplog.at_level(logging.WARNING):
        table = structure_features(Crystals.from_list([CRYSTALS["diamond"]] * 3), ("voronoi", "symmetry"))
    assert table[list(STRUCTURE_GROUPS["voronoi"].columns)].isna().all(axis=None) and not table["is_cubic"].isna().any()
    assert "3 of 3 crystals: voronoi is NaN (no such thing)" in caplog.text


def test_a_finite_group_that_fails_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = STRUCTURE_GROUPS["geometry"]._replace(compute=lambda crystal: [np.nan] * len(STRUCTURE_GROUPS["geometry"].columns))
    monkeypatch.setitem(groups.STRUCTURE_GROUPS, "geometry", broken)
    with pytest.raises(ValueError, match=r"geometry of C2: log_n_atoms.* not finite"):
        structure_features(Crystals.from_list([CRYSTALS["diamond"]]), ("geometry",))


def test_experiments_share_the_cached_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crystals = Crystals.from_list(list(CRYSTALS.values()))
    both = cached_features(crystals, "key", ("geometry", "fractions"), tmp_path)
    assert len(list(tmp_path.glob("features-*"))) == 2
    fail = lambda *_: pytest.fail("computed again")
    monkeypatch.setattr(groups, "structure_features", fail)
    monkeypatch.setitem(groups.FORMULA_GROUPS, "fractions", fail)
    again = cached_features(crystals, "key", ("fractions", "geometry"), tmp_path)
    assert again[list(both.columns)].equals(both)


def test_unknown_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown \['alchemy'\]"):
        cached_features(Crystals.from_list([CRYSTALS["diamond"]]), "key", ("geometry", "alchemy"), tmp_path)
