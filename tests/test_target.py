"""Laws of the target: elements that were not seen, the reference with a Hubbard U, and transforms."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import FOLDS, GBDT, load, run, small_table
from pymatgen.core import Element

from src.config import ExperimentConfig, TargetConfig, from_dict, to_dict
from src.data.crystal import N_ELEMENTS
from src.data.export import TARGET, write_task
from src.data.load import load_folds
from src.data.target import NOBLE_GASES, TRANSFORMS, WITH_U, TargetNormalizer, predicted_shifts, share_of_ones

METALS, HALOGENS = [3, 11, 19, 37, 55, 4, 12, 20, 38, 56], [9, 17, 35, 53]
PREDICTED = TargetConfig(unseen_elements="predicted")


def salts(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Counts of random halides, and energies whose shifts follow the electronegativity."""
    rng = np.random.default_rng(0)
    counts = np.zeros((n, N_ELEMENTS), dtype=np.int64)
    for row in counts:
        row[rng.choice(METALS)], row[rng.choice(HALOGENS)] = rng.integers(1, 4, 2)
    shift = np.array([0.0, *(-Element.from_Z(z).X for z in range(1, 87)), *np.zeros(N_ELEMENTS - 87)])
    return counts, counts @ np.nan_to_num(shift) / counts.sum(axis=1)


@pytest.mark.parametrize("z", [12, 17, 35])
def test_a_crystal_of_an_unseen_element_is_nearer_to_the_truth_than_with_the_mean_shift(z: int) -> None:
    counts, target = salts()
    unseen = counts[:, z] > 0
    fitted = [TargetNormalizer.fit(counts[~unseen], target[~unseen], config) for config in (TargetConfig(), PREDICTED)]
    mean, predicted = (np.abs(found.baseline(counts[unseen]) - target[unseen]).mean() for found in fitted)
    assert predicted < mean / 2


def test_the_shifts_of_elements_that_were_seen_stay() -> None:
    counts, target = salts()
    seen = counts[:, 12] == 0
    plain, found = (TargetNormalizer.fit(counts[seen], target[seen], config).shifts for config in (TargetConfig(), PREDICTED))
    present = counts[seen].any(axis=0)
    np.testing.assert_array_equal(plain[present], found[present])
    assert (plain[~present][1:] != found[~present][1:]).all()


@pytest.mark.parametrize(("n_metals", "teach"), [(5, False), (6, True)])  # with four halogens nine elements, or ten
def test_few_elements_teach_nothing(n_metals: int, teach: bool) -> None:
    counts, target = salts()
    rows = counts[:, METALS[:n_metals]].any(axis=1)
    plain, found = (TargetNormalizer.fit(counts[rows], target[rows], config).shifts for config in (TargetConfig(), PREDICTED))
    assert (plain != found).any() == teach


@pytest.mark.parametrize(("n", "teaches"), [(9, False), (10, True)])
def test_elements_of_few_crystals_teach_nothing(n: int, teaches: bool) -> None:
    counts, _ = salts()
    counts[np.flatnonzero(counts[:, 38])[n:]] = 0
    shift = np.random.default_rng(0).normal(size=N_ELEMENTS)
    found = [predicted_shifts(shift + change * (np.arange(N_ELEMENTS) == 38), counts)[5] for change in (0, 3)]
    assert (found[0] != found[1]) == teaches


def test_origin_and_unit_of_the_shifts_do_not_matter_for_what_is_predicted_from_them() -> None:
    counts, _ = salts()
    shift = np.random.default_rng(0).normal(size=N_ELEMENTS)
    np.testing.assert_allclose(predicted_shifts(20 + 3 * shift, counts), 20 + 3 * predicted_shifts(shift, counts), atol=1e-3)


@pytest.mark.parametrize(("classes", "share"), [([1, 1, 1], 4 / 5), ([0, 0], 1 / 4), ([1, 0, 0, 0], 1 / 3)])
def test_the_share_of_ones_is_that_of_laplace(classes: list[int], share: float) -> None:
    assert share_of_ones(np.array(classes)) == share


def test_it_requires_shifts() -> None:
    with pytest.raises(ValueError, match="unseen_elements='predicted': requires kind='residual' and reference='elements'"):
        TargetConfig(kind="raw", unseen_elements="predicted")


PLAIN = TargetConfig(base="7net-l3i5")
CONFIG = replace(PLAIN, reference="elements_and_u")
IRON, NICKEL, COPPER, OXYGEN, FLUORINE, SULFUR = 26, 28, 29, 8, 9, 16
ELEMENTS = [IRON, NICKEL, COPPER, OXYGEN, FLUORINE, SULFUR]
U = {IRON: 2.5, NICKEL: 1.25}


def _crystals(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Counts of random compounds, half of them without O and F, and what a base with a U leaves of their energies."""
    rng = np.random.default_rng(2)
    counts = np.zeros((n, N_ELEMENTS), dtype=np.int64)
    counts[:, ELEMENTS] = rng.integers(0, 4, (n, len(ELEMENTS)))
    counts[: n // 2, [OXYGEN, FLUORINE]] = 0
    counts[:, SULFUR] += 1
    return counts, counts @ np.arange(N_ELEMENTS) / 30 / counts.sum(axis=1) + _u(counts)


def _u(counts: np.ndarray) -> np.ndarray:
    is_there = counts[:, [OXYGEN, FLUORINE]].any(axis=1)
    return is_there * sum(u * counts[:, z] for z, u in U.items()) / counts.sum(axis=1)


def _fit(counts: np.ndarray, target: np.ndarray, config: TargetConfig = CONFIG) -> TargetNormalizer:
    return TargetNormalizer.fit(counts, target, config, np.zeros(len(counts)))


def test_the_shifts_of_a_u_are_found_and_explain_what_elements_alone_do_not() -> None:
    counts, target = _crystals()
    found = _fit(counts, target).shifts[N_ELEMENTS:]
    np.testing.assert_allclose(found[[list(WITH_U).index(z) for z in U]], list(U.values()), atol=1e-6)
    assert [Element.from_Z(int(z)).symbol for z in WITH_U] == ["V", "Cr", "Mn", "Fe", "Co", "Ni", "Mo", "W"]
    left = [np.abs(target - _fit(counts, target, config).baseline(counts, 0 * target)).mean() for config in (CONFIG, PLAIN)]
    assert left[0] < 1e-6 < 0.05 < left[1]


def test_crystals_without_oxygen_and_fluorine_and_other_metals_have_no_u() -> None:
    counts, target = _crystals()
    normalizer = _fit(counts, target)
    elements = replace(normalizer, shifts=normalizer.shifts[:N_ELEMENTS])
    difference = normalizer.baseline(counts, 0 * target) - elements.baseline(counts, 0 * target)
    np.testing.assert_array_equal(difference[: len(counts) // 2], 0)
    np.testing.assert_allclose(difference, _u(counts), atol=1e-6)


def test_the_way_there_and_back_through_json_changes_nothing() -> None:
    counts, target = _crystals()
    normalizer = _fit(counts, target + np.random.default_rng(0).normal(size=len(target)))
    again = TargetNormalizer.from_json(json.loads(json.dumps(normalizer.to_json())))
    there = normalizer.normalize(counts, target, target)
    np.testing.assert_allclose(again.denormalize(counts, there, target), target, atol=1e-12)


@pytest.mark.parametrize("beside_anions", [True, False])
def test_a_metal_that_is_there_with_or_without_u_alone_gets_the_mean_u(beside_anions: bool) -> None:
    counts, target = _crystals()
    is_there = counts[:, [OXYGEN, FLUORINE]].any(axis=1)
    rows = (counts[:, NICKEL] == 0) | (is_there == beside_anions)
    normalizer = _fit(counts[rows], target[rows])
    np.testing.assert_allclose(normalizer.baseline(counts[rows], 0 * target[rows]), target[rows], atol=1e-6)
    lacking = normalizer.baseline(counts[~rows], 0 * target[~rows]) - target[~rows]
    wrong_by = (U[IRON] - U[NICKEL]) * counts[~rows, NICKEL] / counts[~rows].sum(axis=1)
    np.testing.assert_allclose(lacking, -wrong_by if beside_anions else wrong_by, atol=1e-6)


def test_an_absent_element_gets_the_mean_shift_of_elements() -> None:
    counts, target = _crystals()
    shift = _fit(counts, target).shifts
    assert shift[40] == pytest.approx(shift[ELEMENTS].mean())
    assert shift[N_ELEMENTS + list(WITH_U).index(23)] == pytest.approx(np.mean(list(U.values())), abs=1e-6)


def test_an_absent_noble_gas_has_no_shift_and_one_that_is_there_has_its_own() -> None:
    counts, target = _crystals()
    assert np.flatnonzero(_fit(counts, target).shifts[:N_ELEMENTS] == 0).tolist() == [2, 10, 18, 36, 54, 86]
    counts[:, [36, COPPER]] = counts[:, [COPPER, 36]]
    assert _fit(counts, target).shifts[36] == pytest.approx(COPPER / 30, abs=1e-6)


def test_without_any_u_to_see_there_is_none() -> None:
    counts, target = _crystals()
    shift = _fit(counts[:60], target[:60]).shifts
    np.testing.assert_array_equal(shift[N_ELEMENTS:], 0)
    others = np.setdiff1d(np.arange(N_ELEMENTS), NOBLE_GASES)
    np.testing.assert_array_equal(shift[others], _fit(counts[:60], target[:60], PLAIN).shifts[others])


def test_a_u_requires_a_base() -> None:
    with pytest.raises(ValueError, match="reference='elements_and_u': requires a base"):
        TargetConfig(reference="elements_and_u")


EVERY_TRANSFORM = pytest.mark.parametrize("transform", TRANSFORMS)
EVERY_KIND = pytest.mark.parametrize("kind", ["residual", "standardise", "raw"])


def counts_and_targets(transform: str, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Atom counts and targets over six orders of magnitude, close to the bound of the domain too."""
    rng = np.random.default_rng(0)
    counts = np.zeros((n, N_ELEMENTS), dtype=np.int64)
    for row in counts:
        row[rng.choice(np.arange(1, 20), 2, replace=False)] = rng.integers(1, 5, 2)
    return counts, np.exp(rng.uniform(-7, 7, size=n)) - (transform == "log1p")


@EVERY_TRANSFORM
@EVERY_KIND
def test_normalising_and_back_changes_nothing(kind: str, transform: str) -> None:
    counts, target = counts_and_targets(transform)
    normalizer = TargetNormalizer.fit(counts, target, TargetConfig(kind, transform=transform))
    again = TargetNormalizer.from_json(json.loads(json.dumps(normalizer.to_json())))
    there = normalizer.normalize(counts, target)
    np.testing.assert_allclose(again.denormalize(counts, there), target, rtol=1e-11)
    assert kind == "raw" or there.std() == pytest.approx(1)


@EVERY_TRANSFORM
@EVERY_KIND
def test_the_residual_is_that_of_the_transformed_target(kind: str, transform: str) -> None:
    counts, target = counts_and_targets(transform)
    function = {"log": np.log, "log1p": np.log1p}[transform]
    plain = TargetNormalizer.fit(counts, function(target), TargetConfig(kind))
    found = TargetNormalizer.fit(counts, target, TargetConfig(kind, transform=transform))
    np.testing.assert_array_equal(found.normalize(counts, target), plain.normalize(counts, function(target)))


@EVERY_TRANSFORM
@EVERY_KIND
def test_predictions_are_finite_and_in_the_domain_whatever_a_learner_says(kind: str, transform: str) -> None:
    counts, target = counts_and_targets(transform)
    normalizer = TargetNormalizer.fit(counts, target, TargetConfig(kind, transform=transform))
    for residual in (-1e300, -1e3, -40.0, 40.0, 1e3, 1e300):
        found = normalizer.denormalize(counts, np.full(len(counts), residual))
        assert np.isfinite(found).all() and TRANSFORMS[transform].domain.holds(found).all()
    assert found == pytest.approx(np.finfo(np.float64).max / 2)  # not the largest itself, whose logarithm may round up


def test_no_transform_is_the_default_and_is_stored_as_before_the_knob_was_there() -> None:
    counts, target = counts_and_targets("log")
    assert TargetConfig().transform == "none"
    normalizer = TargetNormalizer.fit(counts, target, TargetConfig())
    assert list(normalizer.to_json()) == ["shift", "scale", "base"]
    assert TargetNormalizer.from_json(normalizer.to_json()).transform == "none"
    stored = to_dict(GBDT)
    assert stored["target"].pop("transform") == "none"
    assert from_dict(stored) == GBDT


def test_a_base_allows_no_transform() -> None:
    with pytest.raises(ValueError, match="base='7net-l3i5': requires kind='residual' and transform='none'"):
        TargetConfig(base="7net-l3i5", transform="log")


def test_the_mean_over_members_is_of_targets_not_of_their_logarithms() -> None:
    normalizer, counts = TargetNormalizer(np.zeros(N_ELEMENTS), 2.0, transform="log"), counts_and_targets("log", 2)[0]
    residuals = np.log([[1.0, 1.0], [2.0, 1.0], [1.0, 3.0]])  # targets 1, 4, 1 and 1, 1, 9
    found = normalizer.mean_and_spread(counts, residuals)
    np.testing.assert_allclose(found, [[2, 11 / 3], [np.std([1, 4, 1]), np.std([1, 1, 9])]])


@pytest.mark.parametrize(("n", "end"), [(10, "'x-10': -10; correct"), (12, "'x-10': -10 and 2 more; correct")])
def test_ten_rows_outside_the_domain_are_named_and_the_others_counted(n: int, end: str) -> None:
    targets = np.array([1.0, *-np.arange(1.0, n + 1), 2.0])
    with pytest.raises(ValueError, match=r"a\.csv: log requires targets above 0, not those of 'x-1': -1, ") as refused:
        TRANSFORMS["log"].domain.check(Path("a.csv"), [f"x-{i}" for i in range(len(targets))], targets, "log")
    assert end in str(refused.value)


@pytest.fixture
def positive(tmp_path: Path) -> Path:
    """A task whose targets are above 0."""
    rows = small_table(46)
    rows[TARGET] = np.exp(2 * rows[TARGET])
    write_task(tmp_path / "small", rows[:40], rows[40:])
    return tmp_path / "small"


def transformed(transform: str) -> ExperimentConfig:
    return replace(GBDT, target=TargetConfig("standardise", transform=transform))


@EVERY_TRANSFORM
def test_a_run_predicts_and_scores_the_target_itself(positive: Path, transform: str) -> None:
    metrics, folder = run(positive, transformed(transform)), positive.parent / "outputs" / "small" / "exp001"
    truth = pd.read_csv(positive / "train.csv.gz")[TARGET]
    oof, test = pd.read_csv(folder / "oof.csv"), pd.read_csv(folder / "test.csv")
    np.testing.assert_allclose(oof["e_form"], truth)
    assert (oof["e_form_pred"] > 0).all() and (test.filter(like="fold_") > 0).to_numpy().all()
    assert metrics["oof_mae"] == pytest.approx(np.abs(oof["e_form_pred"] - truth).mean())
    assert metrics["oof_mae"] < np.abs(truth - truth.mean()).mean()
    assert json.loads((folder / "fold_0" / "normalizer.json").read_text())["transform"] == transform


@EVERY_TRANSFORM
def test_targets_of_scored_rows_do_not_reach_the_normaliser(positive: Path, transform: str) -> None:
    data = load(positive)
    fold = load_folds(data, FOLDS)
    changed = replace(data, train=replace(data.train, target=np.where(fold == 1, 3 * data.train.targets, data.train.targets)))
    for name, own in (("exp001", data), ("exp002", changed)):
        run(own, replace(GBDT, target=TargetConfig(transform=transform)), name, [1])
    before, after = (data.folder / name / "fold_1" for name in ("exp001", "exp002"))
    assert (before / "normalizer.json").read_bytes() == (after / "normalizer.json").read_bytes()
    found = [pd.read_csv(folder / "valid.csv")["e_form_pred"] for folder in (before, after)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("transform", "bound"), [("log", 0.0), ("log1p", -1.0)])
def test_targets_outside_the_domain_are_refused_by_row_before_anything_is_written(
    positive: Path, transform: str, bound: float
) -> None:
    table = pd.read_csv(positive / "train.csv.gz")
    table.loc[3, TARGET] = bound
    table.to_csv(positive / "train.csv.gz", index=False)
    with pytest.raises(ValueError, match=rf"train\.csv\.gz: target\.transform = '{transform}' requires .*'x-3': {bound:g}"):
        run(positive, transformed(transform))
    assert not (positive.parent / "outputs" / "small" / "exp001").exists()
