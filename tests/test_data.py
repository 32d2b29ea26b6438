"""Laws of src/data. The fast reader of plain CIFs agrees with pymatgen's parser to the last bit, or leaves the text to it."""

import csv
import functools
import gzip
import math
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS, small_table
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Element, Lattice, Structure
from sklearn.linear_model import LinearRegression

from src.config import FoldConfig, TargetConfig
from src.data.cif import parse_cif, read_plain
from src.data.crystal import N_ELEMENTS, Crystal
from src.data.export import write_task
from src.data.load import TaskData, assign_folds, load_folds, load_task_data
from src.data.rows import read_rows
from src.data.table import CrystalTable, read_table
from src.data.target import TargetNormalizer, is_pure
from src.data.task import read_task
from src.paths import DEFAULT_TASK
from src.results.predictions import find_predictions
from src.storage import cache
from src.storage.files import write_csv
from src.storage.ragged import RaggedStore

TARGET = "formation_energy_per_atom"


def read_changed(folder: Path, change: dict, row: int = 3, which: str = "train", **options: object) -> CrystalTable:
    """Return the table after replacing some fields of one row."""
    task = read_task(folder)
    path = task.path(which)
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column, value in change.items():
        rows.loc[row, column] = value
    write_csv(path, rows)
    return read_table(path, task, has_target=which == "train", **options)


def test_cif_round_trip_keeps_the_crystal(crystal: Crystal) -> None:
    from pymatgen.io.cif import CifWriter

    again = Crystal.from_cif(str(CifWriter(crystal.to_structure())))
    assert again.volume == pytest.approx(crystal.volume, rel=1e-6)
    np.testing.assert_array_equal(again.element_counts, crystal.element_counts)


def test_a_table_keeps_the_order_of_its_rows(task_folder: Path) -> None:
    task = read_task(task_folder)
    table = read_table(task.path("train"), task, has_target=True)
    raw = pd.read_csv(task.path("train"), float_precision="round_trip")
    assert list(table.ids) == list(raw["id"])
    np.testing.assert_array_equal(table.target, raw[TARGET])
    assert [c.n_atoms for c in (table.crystals[i] for i in range(3))] == [2, 2, 2]
    np.testing.assert_array_equal(table.crystals.element_counts[5], table.crystals[5].element_counts)


def test_bad_rows_are_all_named_and_left_out_when_asked(task_folder: Path) -> None:
    """tests/hostile has each thing that may be wrong with a row."""
    assert len(read_changed(task_folder, {"cif": "broken"}, row=1, skip_bad_rows=True).ids) == 39
    with pytest.raises(ValueError, match=r"2 bad rows\n.*'x-1'.*unreadable structure.*\n.*'x-2'.*not a finite number"):
        read_changed(task_folder, {TARGET: ""}, row=2)


def test_a_table_without_a_good_row_is_refused(task_folder: Path) -> None:
    table = pd.read_csv(task_folder / "train.csv.gz", dtype=str).assign(cif="broken")
    write_csv(task_folder / "train.csv.gz", table)
    with pytest.raises(ValueError, match=r"train\.csv\.gz: no rows are left"):
        read_changed(task_folder, {}, skip_bad_rows=True)


def test_atoms_that_coincide_across_a_face_of_the_cell_are_refused() -> None:
    structure = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0.01], [0, 0, 0.99]])
    with pytest.raises(ValueError, match=r"coincident atoms: 1 and 2 are 0.08 Angstrom apart"):
        Crystal.from_structure(structure)


@pytest.mark.parametrize(
    ("lattice", "x", "reason"),
    [
        ([[5, 0, 0], [5, 0.51, 0], [0, 0, 5]], None, ""),  # as thick as 0.507 Angstrom, whatever its angles
        ([[5, 0, 0], [5, 0.5, 0], [0, 0, 5]], None, "the cell is only 0.5 Angstrom thick; the minimum is 0.5"),
        ([[5, 0, 0], [0, 5, 0], [0, 0, 5]], 0.0402, ""),
        ([[5, 0, 0], [0, 5, 0], [0, 0, 5]], 0.0398, "coincident atoms: 1 and 2 are 0.2 Angstrom apart"),
        ([[800, 599, 0], [0, 36, 0], [0, 0, 0.6]], None, ""),
        ([[800, 601, 0], [0, 4, 0], [0, 0, 4]], None, "vectors of up to 1001 Angstrom .*the limits are 1000 and 20000"),
        ([[5, 5, 0], [5, 5, 0], [0, 0, 5]], None, "the cell has no volume"),
        (np.eye(3) * 27.1, None, ""),
        (np.eye(3) * 27.2, None, "and 2.012e.04 Angstrom.3 per atom"),
    ],
)
def test_a_cell_within_the_limits_is_read_and_no_other(lattice: list[list[float]], x: float | None, reason: str) -> None:
    structure = Structure(
        lattice, ["Na"] + ["Cl"] * (x is not None), [[0.3, 0.3, 0.3], [0.3 + (x or 0), 0.3, 0.3]][: 1 + (x is not None)]
    )
    if not reason:
        assert Crystal.from_structure(structure).n_atoms == len(structure)
        return
    with pytest.raises(ValueError, match=reason):
        Crystal.from_structure(structure)


def test_of_many_atoms_the_two_that_coincide_are_named() -> None:
    places = np.stack(np.meshgrid(*[np.arange(7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) / 7
    assert Crystal.from_structure(Structure(Lattice.cubic(21), ["Na"] * 343, places)).n_atoms == 343
    places[342] = places[299] + [0, 0.006, 0]
    with pytest.raises(ValueError, match=r"coincident atoms: 300 and 343 are 0\.13 Angstrom apart"):
        Crystal.from_structure(Structure(Lattice.cubic(21), ["Na"] * 343, places))


def test_the_folds_of_published_experiments_are_those_that_are_assigned_today() -> None:
    oof = find_predictions("001", read_task(DEFAULT_TASK), Path("/nonexistent")).oof
    fold = assign_folds(oof["e_form"].to_numpy(), np.ones((len(oof), N_ELEMENTS), dtype=np.int64), FoldConfig())
    np.testing.assert_array_equal(fold, oof["fold"])


def test_a_test_row_is_left_out_if_its_structure_cannot_be_read_and_for_nothing_else(task_folder: Path) -> None:
    """Nobody can correct a contest's table; a contradiction means that the task is not understood."""
    with pytest.raises(ValueError, match="a test row is never left out"):
        read_changed(task_folder, {"cif": "broken", "id": "x-41"}, which="test")
    assert len(read_changed(task_folder, {"id": "x-43"}, which="test").ids) == 5
    with pytest.raises(ValueError, match="a test row is never left out"):
        read_changed(task_folder, {"nsites": 77}, row=2, which="test", skip_bad_rows=True)


@pytest.mark.parametrize("scheme", ["stratified", "shuffled", "grouped"])
def test_folds_are_a_partition_into_equal_parts(scheme: str) -> None:
    rng = np.random.default_rng(0)
    counts = np.zeros((100, N_ELEMENTS), dtype=np.int64)
    counts[np.arange(100), rng.integers(1, 90, 100)] = 1
    counts[np.arange(100), 8] += rng.integers(1, 4, 100)
    fold = assign_folds(rng.normal(size=100), counts, FoldConfig(scheme=scheme))
    assert set(fold) == set(range(10))
    sizes = np.bincount(fold)
    assert sizes.sum() == 100 and (scheme == "grouped" or sizes.max() - sizes.min() <= 1)


def test_stratified_folds_hold_every_bin_evenly() -> None:
    target = np.random.default_rng(0).normal(size=600)
    fold = assign_folds(target, np.ones((600, N_ELEMENTS), dtype=np.int64), FoldConfig())[np.argsort(target)]
    per_bin = np.array([np.bincount(fold[i * 100 : (i + 1) * 100], minlength=10) for i in range(6)])
    assert per_bin.min() >= 9 and per_bin.max() <= 11


def test_folds_of_few_crystals_have_one_of_each_part_of_the_targets() -> None:
    target, counts, config = np.random.default_rng(0).normal(size=12), np.ones((12, N_ELEMENTS), int), FoldConfig(n_folds=4)
    fold = assign_folds(target, counts, config)[np.argsort(target)]
    assert [set(part) for part in fold.reshape(3, 4).tolist()] == [{0, 1, 2, 3}] * 3
    assert sorted(assign_folds(target[:4], counts[:4], config)) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="3 crystals cannot fill 4 folds"):
        assign_folds(target[:3], counts[:3], config)
    of_classes = assign_folds(np.repeat([0.0, 1.0], 4), counts[:8], config)
    assert sorted(of_classes[:4]) == sorted(of_classes[4:]) == [0, 1, 2, 3]


def test_stored_folds_of_other_rows_or_of_another_number_are_refused(data: TaskData) -> None:
    config = FoldConfig(n_folds=4)
    load_folds(data, config)
    (path,) = (data.folder / "folds").iterdir()
    table = pd.read_csv(path)
    for changed in (table[::-1], table.assign(fold=table["fold"] % 3)):
        changed.to_csv(path, index=False)
        with pytest.raises(ValueError, match="its ids and folds are not those of the training table and the config"):
            load_folds(data, config)


def test_grouped_folds_keep_a_formula_together() -> None:
    counts = np.zeros((60, N_ELEMENTS), dtype=np.int64)
    counts[np.arange(60), np.arange(60) % 20 + 1] = np.arange(60) // 20 + 1  # Fe, Fe2, Fe3 are one formula
    fold = assign_folds(np.zeros(60), counts, FoldConfig(scheme="grouped"))
    assert all(len(set(fold[i::20])) == 1 for i in range(20))


def _counts_and_energies(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    counts = np.zeros((n, N_ELEMENTS), dtype=np.int64)
    for row in counts:
        row[rng.choice(np.arange(1, 30), 3, replace=False)] = rng.integers(1, 6, 3)
    true_shift = rng.normal(size=N_ELEMENTS)
    return counts, counts @ true_shift / counts.sum(axis=1) + 0.1 * rng.normal(size=n)


@pytest.mark.parametrize("kind", ["residual", "standardise", "raw"])
def test_mae_is_scale_times_mae_of_the_residual(kind: str) -> None:
    counts, target = _counts_and_energies()
    normalizer = TargetNormalizer.fit(counts, target, TargetConfig(kind))
    residual = np.random.default_rng(1).normal(size=len(target))
    in_ev = np.abs(normalizer.denormalize(counts, residual) - target).mean()
    assert in_ev == pytest.approx(normalizer.scale * np.abs(residual - normalizer.normalize(counts, target)).mean())
    assert (normalizer.scale == 1) == (kind == "raw")
    for unit in (1e-12, 1e12):
        scaled = TargetNormalizer.fit(counts, unit * target, TargetConfig(kind)).normalize(counts, unit * target)
        assert scaled.std() == pytest.approx(1)


def test_a_constant_target_does_not_divide_by_zero() -> None:
    counts, _ = _counts_and_energies()
    normalizer = TargetNormalizer.fit(counts, np.zeros(len(counts)), TargetConfig())
    assert np.isfinite(normalizer.normalize(counts, np.zeros(len(counts)))).all()


SEVENNET = TargetConfig(base="7net-l3i5")
MEDIAN = TargetConfig(pure_elements="median")


def _base(target: np.ndarray) -> np.ndarray:
    """Return energies of a potential with small noise, and an error of 3 eV/atom for one crystal in fifty."""
    rng = np.random.default_rng(5)
    return target + 0.02 * rng.normal(size=len(target)) + 3.0 * (np.arange(len(target)) % 50 == 7)


def test_normalising_and_back_with_a_base_changes_nothing() -> None:
    counts, target = _counts_and_energies()
    base = _base(target)
    normalizer = TargetNormalizer.fit(counts, target, SEVENNET, base)
    again = TargetNormalizer.from_json(normalizer.to_json())
    there = normalizer.normalize(counts, target, base)
    np.testing.assert_allclose(again.denormalize(counts, there, base), target, atol=1e-12)
    assert there.std() == pytest.approx(1)


def test_the_shift_of_a_base_is_robust_to_outliers_that_mislead_least_squares() -> None:
    counts, target = _counts_and_energies(400)
    shift = np.random.default_rng(7).normal(size=N_ELEMENTS)
    base = _base(target) - counts @ shift / counts.sum(axis=1)
    present = counts.sum(axis=0) > 0
    robust = TargetNormalizer.fit(counts, target, SEVENNET, base).shifts
    plain = TargetNormalizer.fit(counts, target - base, TargetConfig()).shifts
    error, plain_error = (np.abs(found - shift)[present].mean() for found in (robust, plain))
    assert error < 0.02 < 5 * error < plain_error


def test_the_shift_of_a_base_minimises_the_absolute_error_per_atom() -> None:
    counts, target = _counts_and_energies()
    base = _base(target)
    best = TargetNormalizer.fit(counts, target, SEVENNET, base)
    error = np.abs(target - best.baseline(counts, base)).mean()
    for z in np.flatnonzero(counts.sum(axis=0)):
        for step in (-0.01, 0.01):
            moved = replace(best, shifts=best.shifts + step * (np.arange(N_ELEMENTS) == z))
            assert np.abs(target - moved.baseline(counts, base)).mean() >= error - 1e-12


def test_crystals_of_one_element_get_their_median_whatever_is_learned_and_compounds_what_is_learned() -> None:
    counts, target = _counts_and_energies()
    counts[:9] = 0
    counts[np.arange(9), np.arange(3, 12)] = 2
    normalizer = TargetNormalizer.fit(counts, target, MEDIAN)
    residual = np.random.default_rng(0).normal(size=(2, len(target)))
    found = normalizer.denormalize(counts, residual)
    assert (found[:, :9] == np.median(target[:9])).all() and is_pure(counts)[:9].all()
    np.testing.assert_array_equal(found[:, 9:], replace(normalizer, pure_energy=None).denormalize(counts, residual)[:, 9:])


def test_without_a_training_crystal_of_one_element_their_median_means_nothing() -> None:
    counts, target = _counts_and_energies()
    several = ~is_pure(counts)
    found, plain = (TargetNormalizer.fit(counts[several], target[several], config) for config in (MEDIAN, TargetConfig()))
    assert found.to_json() == plain.to_json()
    element = np.eye(N_ELEMENTS, dtype=np.int64)[26:27]
    np.testing.assert_array_equal(found.denormalize(element, np.ones(1)), plain.denormalize(element, np.ones(1)))


def test_a_base_without_its_energies_is_refused() -> None:
    counts, target = _counts_and_energies()
    with pytest.raises(ValueError, match="energies of the base '7net-l3i5' are missing"):
        TargetNormalizer.fit(counts, target, SEVENNET)


@pytest.mark.parametrize("kind", ["residual", "standardise", "raw"])
def test_without_a_base_the_normaliser_is_the_plain_regression_to_the_bit(kind: str) -> None:
    counts, target = _counts_and_energies()
    present, n_atoms = counts.sum(axis=0) > 0, counts.sum(axis=1)
    shift, scale = np.full(N_ELEMENTS, {"standardise": target.mean(), "raw": 0.0}.get(kind, np.nan)), 1.0
    if kind == "residual":
        shift[present] = LinearRegression(fit_intercept=False).fit(counts[:, present], target * n_atoms).coef_
        shift[~present] = shift[present].mean()
    if kind != "raw":
        scale = np.std(target - counts @ shift / n_atoms)
    for base in ((), (np.zeros(len(target)),)):  # the pipeline passes zeros
        normalizer = TargetNormalizer.fit(counts, target, TargetConfig(kind), *base)
        np.testing.assert_array_equal(normalizer.shifts, shift)
        assert normalizer.scale == scale
        np.testing.assert_array_equal(normalizer.normalize(counts, target, *base), (target - counts @ shift / n_atoms) / scale)
    stored = {name: value for name, value in normalizer.to_json().items() if name != "base"}
    assert TargetNormalizer.from_json(stored).base == "none"


def test_a_store_returns_its_items_from_memory_and_from_disk(tmp_path: Path) -> None:
    items = [vars(crystal) for crystal in CRYSTALS.values()]
    levels = {"lattice": "lattice", "frac_coords": "atom", "atomic_numbers": "atom"}
    store = RaggedStore.from_items(levels, items)
    store.save(tmp_path / "store")
    for one in (store, RaggedStore.open(tmp_path / "store")):
        assert len(one) == len(items)
        for i, item in enumerate(items):
            for name in levels:
                np.testing.assert_array_equal(one.item(i)[name], item[name])
    assert [path.name for path in tmp_path.iterdir()] == ["store"]  # no temporary folder is left


def test_stores_joined_on_disk_equal_those_joined_in_memory_byte_for_byte(tmp_path: Path) -> None:
    rng, levels = np.random.default_rng(0), {"x": "row", "rotation": "row", "nothing": "triplet"}
    items = [
        {"x": rng.integers(9, size=n), "rotation": rng.normal(size=(n, 3)).astype(np.float32), "nothing": np.zeros(0)}
        for n in (3, 0, 5, 1)
    ]
    whole = RaggedStore.from_items(levels, items)
    joined = RaggedStore.concatenate((RaggedStore.from_items(levels, items[i : i + 2]) for i in (0, 2)), tmp_path)
    assert not list(tmp_path.iterdir())  # a killed process would leave nothing either
    whole.save(tmp_path / "whole")
    joined.save(tmp_path / "joined")
    files = [path.name for path in (tmp_path / "whole").glob("*.npy")]
    assert len(files) == 5
    for name in files:
        assert (tmp_path / "joined" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(ValueError, match="rows of float64"):
        RaggedStore.concatenate([whole, RaggedStore({**whole.arrays, "rotation": np.zeros((9, 3))}, whole.offsets, levels)])


def peak_megabytes(work: Callable[[], object]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return peak


def test_joining_on_disk_holds_one_store_in_memory_at_a_time(tmp_path: Path) -> None:
    def stores() -> Iterator[RaggedStore]:
        for _ in range(30):
            yield RaggedStore.from_items({"x": "row"}, [{"x": np.zeros(2**17)}])  # 1 MB

    assert peak_megabytes(lambda: RaggedStore.concatenate(stores(), tmp_path)) < 6


def test_rows_are_read_one_at_a_time(task_folder: Path) -> None:
    path = read_task(task_folder).path("train")
    write_csv(path, pd.concat([pd.read_csv(path, dtype=str)] * 100))
    assert peak_megabytes(lambda: list(read_rows(path))) > 10
    assert peak_megabytes(lambda: [row["id"] for row in read_rows(path)]) < 3


def test_a_store_travels_to_another_process_as_its_path(tmp_path: Path) -> None:
    import pickle

    store = RaggedStore.from_items({"x": "row"}, [{"x": np.zeros(100_000)}])
    store.save(tmp_path / "store")
    assert len(pickle.dumps(RaggedStore.open(tmp_path / "store"))) < 1000


def test_crystals_are_read_again_after_the_parser_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = small_table(12)
    write_task(tmp_path / "small", rows[:10], rows[10:])
    load = lambda: load_task_data(tmp_path / "small", tmp_path / "outputs", skip_bad_rows=False, n_jobs=1)
    shutil.copytree(cache.ROOT / "src", tmp_path / "src")
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    before, again = load(), load()
    parser = tmp_path / "src" / "data" / "cif.py"
    parser.write_text(parser.read_text() + "CHANGED = True")
    after = load()
    assert before.train_key == again.train_key != after.train_key
    assert before.test_key != after.test_key
    assert before.key == after.key, "the data themselves, by which published results are known, are the same"


N_COMPARED = 150
PLAIN = Structure(Lattice.from_parameters(4, 5, 6, 80, 90, 100), ["O", "Na", "Cl"], [[0, 0, 0], [0.5] * 3, [0.25, 0.6, 0.9]])
TEXT = PLAIN.to(fmt="cif")
SYMBOLS = [e.symbol for e in Element if not math.isnan(e.data.get("X") or math.nan)]


def same(text: str) -> bool:
    """Return whether both readers make the same crystal, to the last bit."""
    plain, crystal = read_plain(text), Crystal.from_structure(parse_cif(text))
    assert plain is not None
    assert not crystal.is_disordered
    parts = crystal.lattice, crystal.frac_coords, crystal.atomic_numbers
    return all(x.tobytes() == y.tobytes() for x, y in zip(plain, parts, strict=True))


@functools.cache
def cifs() -> list[str]:
    """Return CIFs of the embedded data, evenly from the whole table."""
    with gzip.open(DEFAULT_TASK / "train.csv.gz", "rt", newline="") as file:
        texts = [row["cif"] for row in csv.DictReader(file)]
    return texts[:: len(texts) // N_COMPARED]


def test_real_cifs_are_read_as_the_parser_reads_them() -> None:
    assert [same(text) for text in cifs()] == [True] * len(cifs())


@pytest.mark.parametrize("symbols", [SYMBOLS[i::12] for i in range(12)], ids=" ".join)  # longer formulas are not on one line
def test_atoms_of_all_elements_are_sorted_as_the_parser_sorts_them(symbols: list[str]) -> None:
    places = [[i / len(symbols), (i % 7) / 7, 0.5] for i in range(len(symbols))]
    lines = Structure(Lattice.cubic(40), symbols, places).to(fmt="cif").splitlines(keepends=True)
    n = len(symbols)
    assert same("".join(lines[:-n] + lines[: -n - 1 : -1]))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(["0.3333", "0.66670", "0.33328", "0.6668", "-0.33333333", "1.33333333", "-0.0", "0.00000001", "-0.00000001"])
    | st.floats(-20, 20).map("{:.8f}".format)
)
def test_a_coordinate_is_what_the_parser_makes_of_it(coordinate: str) -> None:
    assert same(TEXT.replace("0.25000000", coordinate))


CHANGES = {
    "a second operation": ("  1  'x, y, z'\n", "  1  'x, y, z'\n  2  '-x, -y, -z'\n"),
    "half an atom": ("0.90000000  1", "0.90000000  0.5"),
    "an uncertainty": ("0.25000000", "0.2500(1)"),
    "a charge": ("  Na  ", "  Na+  "),
    "an unknown element": ("  Na  ", "  Xx  "),
    "an element without electronegativity": ("  Na  ", "  Ne  "),
    "a further column": (" _atom_site_occupancy\n", " _atom_site_occupancy\n _atom_site_B\n"),
    "a further line": ("_cell_volume", "_refine_ls_R 0.1\n_cell_volume"),
    "no length": ("_cell_length_b   5.00000000\n", ""),
    "a length twice": ("_cell_length_b   5.00000000\n", "_cell_length_b   5.00000000\n_cell_length_b   6.00000000\n"),
    "a length of zero": ("_cell_length_b   5.00000000\n", "_cell_length_b   0.00000000\n"),
    "angles of no cell": ("_cell_angle_alpha   80.00000000\n", "_cell_angle_alpha   179.00000000\n"),
    "another space group": ("'P 1'", "'P -1'"),
    "two structures": ("data_", f"{TEXT}data_"),
    "an angle of 180": (
        "beta   90.00000000\n_cell_angle_gamma   100.00000000\n",
        "beta   100.00000000\n_cell_angle_gamma   180.00000000\n",
    ),
    "a digit of another script": ("0.25000000", "0.2500000\u0662"),
    "no atoms": (TEXT[TEXT.index("  O  ") :], ""),
    "a line end within a comment": ("pymatgen\n", "pymatgen\rdata_other\n"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("old", "new"), CHANGES.values(), ids=CHANGES)
def test_what_is_not_plain_is_left_to_the_parser(old: str, new: str) -> None:
    assert read_plain(TEXT) is not None
    assert old in TEXT
    assert read_plain(TEXT.replace(old, new, 1)) is None


def test_what_is_wrong_with_a_plain_crystal_is_said_by_the_parser() -> None:
    twice = TEXT.replace("0.25000000  0.60000000  0.90000000", "0.50000000  0.50000000  0.50000000")
    with pytest.raises(ValueError) as of_the_parser:
        parse_cif(twice)
    with pytest.raises(ValueError) as of_both:
        Crystal.from_cif(twice)
    assert str(of_both.value) == str(of_the_parser.value)
