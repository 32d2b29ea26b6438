"""Checks of tables find what was put there, and nothing else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS, small_table
from pymatgen.core import Lattice, Structure

from exp import check_data
from src.data.crystal import Crystal
from src.data.export import write_task
from src.data.table import Crystals, CrystalTable
from src.report.audit import adversarial_auc, duplicate_groups, missing_elements, target_by_fold


def table_of(crystals: list[Crystal], prefix: str) -> CrystalTable:
    ids = np.array([f"{prefix}-{i}" for i in range(len(crystals))])
    return CrystalTable(ids, Crystals.from_list(crystals), np.zeros(len(ids)))


def rock_salt(a: float, anion: int = 17) -> Crystal:
    """NaCl, or another anion by its atomic number; a: Angstrom."""
    known = CRYSTALS["rock salt"]
    numbers = np.where(known.atomic_numbers == 17, anion, known.atomic_numbers)
    return Crystal(known.lattice * a / 5.64, known.frac_coords, numbers)


def test_a_supercell_of_a_training_crystal_in_the_test_table_is_found() -> None:
    supercell = Crystal.from_structure(CRYSTALS["rock salt"].to_structure() * (1, 1, 2))
    train = table_of([CRYSTALS["rutile"], CRYSTALS["rock salt"], CRYSTALS["quartz"]], "train")
    (group,) = duplicate_groups(train, table_of([CRYSTALS["diamond"], supercell], "test"))
    assert set(group["id"]) == {"train-1", "test-1"}
    assert list(group["formula"]) == ["NaCl", "NaCl"]


def test_other_structures_of_a_formula_and_other_formulas_of_a_structure_are_no_duplicates() -> None:
    caesium_chloride = Crystal.from_structure(Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert duplicate_groups(table_of([rock_salt(5.6)], "train"), table_of([caesium_chloride, rock_salt(5.6, 35)], "test")) == []


def test_crystals_of_one_formula_and_one_space_group_are_duplicates_only_if_they_match() -> None:
    known = CRYSTALS["triclinic"]
    moved = Crystal(known.lattice, np.random.default_rng(5).random((known.n_atoms, 3)), known.atomic_numbers)
    assert duplicate_groups(table_of([known], "train"), table_of([moved], "test")) == []
    (group,) = duplicate_groups(table_of([known, moved], "train"), table_of([known], "test"))
    assert set(group["id"]) == {"train-0", "test-0"}


def random_crystals(n: int, a: float, seed: int) -> list[Crystal]:
    rng = np.random.default_rng(seed)
    return [rock_salt(a + rng.random(), int(rng.choice([9, 17, 35, 53]))) for _ in range(n)]


def test_tables_drawn_alike_cannot_be_told_apart_and_larger_cells_can() -> None:
    train = table_of(random_crystals(150, 5.0, 0), "train")
    alike, _ = adversarial_auc(train, table_of(random_crystals(100, 5.0, 1), "test"))
    shifted, telling = adversarial_auc(train, table_of(random_crystals(100, 5.8, 2), "test"))
    assert alike.mean() < 0.65 < 0.8 < shifted.mean()
    assert "volume per atom" in telling or "shortest lattice vector" in telling


def test_an_element_that_only_test_crystals_have_is_named() -> None:
    train, test = table_of([rock_salt(5.6)], "train"), table_of([rock_salt(5.6, 35)], "test")
    assert missing_elements(train.crystals.element_counts, test.crystals.element_counts) == ["Br"]


def test_the_target_is_described_fold_by_fold() -> None:
    found = target_by_fold(np.array([1.0, 3.0, 10.0]), np.array([0, 0, 1]))
    assert list(found["count"]) == [2, 1] and list(found["mean"]) == [2, 10]


def test_the_command_names_a_crystal_that_is_in_both_tables(
    task_folder: Path, where: list[str], capsys: pytest.CaptureFixture
) -> None:
    rows = small_table(46)
    twin = rows[:1].assign(id="twin")
    write_task(task_folder, rows[:40], pd.concat([rows[40:], twin]))
    check_data.main(where)
    shown = capsys.readouterr().out
    assert "x-0 (train)" in shown and "twin (test)" in shown
    assert "AUC" in shown
