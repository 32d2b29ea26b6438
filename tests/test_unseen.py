"""Laws of `unseen_elements`: the shift of an element that was not seen is that of its neighbours in the periodic table."""

import numpy as np
import pytest
from pymatgen.core import Element

from src.config import TargetConfig
from src.data.crystal import N_ELEMENTS
from src.data.target import TargetNormalizer

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


def test_few_elements_teach_nothing() -> None:
    counts, target = salts()
    rows = counts[:, [3, 11, 19]].any(axis=1)
    plain, found = (TargetNormalizer.fit(counts[rows], target[rows], config).shifts for config in (TargetConfig(), PREDICTED))
    np.testing.assert_array_equal(plain, found)


def test_it_requires_shifts() -> None:
    with pytest.raises(ValueError, match="unseen_elements='predicted': requires kind='residual' and reference='elements'"):
        TargetConfig(kind="raw", unseen_elements="predicted")
