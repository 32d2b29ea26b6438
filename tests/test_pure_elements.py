"""Laws of `pure_elements`: an element's own energy is learned from zero on, and its compounds are learned without it."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from src.config import TargetConfig
from src.data.crystal import N_ELEMENTS
from src.data.target import TargetNormalizer

AT_ZERO, CLIPPED = TargetConfig(pure_elements="at_zero"), "not_below_zero"
PLAIN_MEDIAN = ("as_compounds", "median")
N_COMPOUNDS, PURE = 60, 3  # the element whose atoms the pure crystals have


@pytest.fixture
def rows() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Compounds of the elements 1 to 12, then crystals of one element with energies from zero on."""
    rng = np.random.default_rng(0)
    counts = np.zeros((N_COMPOUNDS + 4, N_ELEMENTS), dtype=np.int64)
    for row in counts[:N_COMPOUNDS]:
        row[rng.choice(np.arange(1, 13), 3, replace=False)] = rng.integers(1, 5, 3)
    counts[N_COMPOUNDS:, PURE] = [1, 2, 4, 8]
    return counts, np.concatenate([rng.normal(-1, 0.5, N_COMPOUNDS), [0, 0.01, 0.1, 0.4]])


def test_the_shifts_are_those_of_the_compounds_alone(rows: tuple) -> None:
    counts, e_form = rows
    shift = TargetNormalizer.fit(counts, e_form, AT_ZERO).shift
    np.testing.assert_array_equal(shift, TargetNormalizer.fit(counts[:N_COMPOUNDS], e_form[:N_COMPOUNDS], TargetConfig()).shift)


def test_elements_are_learned_from_zero_on_whatever_their_compounds_have(rows: tuple) -> None:
    counts, e_form = rows
    normalizer = TargetNormalizer.fit(counts, e_form, AT_ZERO)
    assert abs(normalizer.shift[PURE]) > 0.1
    assert (normalizer.baseline(counts)[N_COMPOUNDS:] == 0).all()
    assert (normalizer.baseline(counts)[:N_COMPOUNDS] != 0).all()


def test_no_element_is_predicted_below_zero_but_compounds_are(rows: tuple) -> None:
    counts, e_form = rows
    normalizer = TargetNormalizer.fit(counts, e_form, AT_ZERO)
    predicted = normalizer.denormalize(counts, np.full((2, len(counts)), -5.0))
    assert (predicted[:, N_COMPOUNDS:] == 0).all()
    assert (predicted[:, :N_COMPOUNDS] < -1).all()


def test_not_below_zero_changes_predictions_of_elements_alone_and_nothing_that_is_fitted(rows: tuple) -> None:
    counts, e_form = rows
    plain, clipped = (TargetNormalizer.fit(counts, e_form, TargetConfig(pure_elements=how)) for how in ("as_compounds", CLIPPED))
    np.testing.assert_array_equal(plain.shift, clipped.shift)
    np.testing.assert_array_equal(plain.normalize(counts, e_form), clipped.normalize(counts, e_form))
    residual = np.linspace(-5, 5, len(counts))[::-1]
    expected = plain.denormalize(counts, residual)
    assert (expected[N_COMPOUNDS:] < 0).any() and (expected[:N_COMPOUNDS] < 0).any()
    expected[N_COMPOUNDS:] = np.maximum(expected[N_COMPOUNDS:], 0)
    np.testing.assert_array_equal(TargetNormalizer.from_json(clipped.to_json()).denormalize(counts, residual), expected)


@pytest.mark.parametrize("other", [{}, {"kind": "raw"}, {"transform": "log"}], ids=str)
def test_all_elements_get_their_median_whatever_is_learned_and_compounds_what_is_learned(rows: tuple, other: dict) -> None:
    counts, e_form = rows[0], rows[1] + 10.0
    plain, median = (TargetNormalizer.fit(counts, e_form, TargetConfig(pure_elements=how, **other)) for how in PLAIN_MEDIAN)
    np.testing.assert_array_equal(plain.normalize(counts, e_form), median.normalize(counts, e_form))
    residuals = np.random.default_rng(1).normal(size=(3, len(counts)))
    expected = plain.denormalize(counts, residuals)
    expected[:, N_COMPOUNDS:] = np.median(e_form[N_COMPOUNDS:])
    again = TargetNormalizer.from_json(json.loads(json.dumps(median.to_json())))
    np.testing.assert_array_equal(again.denormalize(counts, residuals), expected)
    assert (again.mean_and_spread(counts, residuals)[1][N_COMPOUNDS:] == 0).all()


def test_a_median_needs_elements_among_the_training_crystals(rows: tuple) -> None:
    with pytest.raises(ValueError, match="no training crystal consists of one element"):
        TargetNormalizer.fit(*(x[:N_COMPOUNDS] for x in rows), TargetConfig(pure_elements="median"))


def test_energies_come_back_and_so_does_the_normaliser(rows: tuple) -> None:
    counts, e_form = rows
    normalizer = TargetNormalizer.fit(counts, e_form, AT_ZERO)
    again = TargetNormalizer.from_json(json.loads(json.dumps(normalizer.to_json())))
    np.testing.assert_allclose(again.denormalize(counts, normalizer.normalize(counts, e_form)), e_form, atol=1e-12)


def test_a_table_of_elements_alone_has_no_shifts_to_fit(rows: tuple) -> None:
    counts, e_form = (x[N_COMPOUNDS:] for x in rows)
    assert np.isfinite(TargetNormalizer.fit(counts, e_form, AT_ZERO).normalize(counts, e_form)).all()


@pytest.mark.parametrize("other", [{"kind": "raw"}, {"base": "chgnet"}, {"transform": "log1p"}], ids=str)
def test_it_is_for_formation_energies(other: dict) -> None:
    with pytest.raises(ValueError, match="pure_elements='at_zero': requires"):
        TargetConfig(pure_elements="at_zero", **other)
