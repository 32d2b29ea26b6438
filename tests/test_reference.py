"""Laws of the target's reference with a Hubbard U, TargetConfig.reference = `elements_and_u`."""

import json
from dataclasses import replace

import numpy as np
import pytest

from src.config import TargetConfig
from src.data.crystal import N_ELEMENTS
from src.data.target import NOBLE_GASES, WITH_U, TargetNormalizer

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
    assert (_fit(counts, target).shifts[NOBLE_GASES] == 0).all()
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
