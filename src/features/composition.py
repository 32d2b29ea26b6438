"""Composition statistics: element counts, (n_crystals, N_ELEMENTS), -> one row of columns for each crystal, for LightGBM.

word2vec: a gensim file with the vectors of mat2vec; None: the packaged table.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Composition, Element

from src.config import ElementConfig
from src.data.crystal import N_ELEMENTS
from src.features.elements import element_vectors
from src.storage.cache import in_chunks

Counts = NDArray[np.int64]
COMPOSITIONS_PER_TASK = 64  # compositions


def fractions(element_counts: Counts, n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    """Return the atomic fraction of each element."""
    columns = [f"x_{Element.from_Z(z).symbol}" for z in range(1, N_ELEMENTS)]
    return pd.DataFrame((element_counts / element_counts.sum(axis=1, keepdims=True))[:, 1:], columns=columns)


def mat2vec_statistics(element_counts: Counts, n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    """Return mean and standard deviation of each component of mat2vec over the atoms."""
    vectors = element_vectors(ElementConfig(("mat2vec",)), word2vec)
    x = element_counts / element_counts.sum(axis=1, keepdims=True)
    mean = x @ vectors
    sd = np.sqrt(np.maximum(x @ vectors**2 - mean**2, 0))
    columns = [f"mat2vec_{name}_{i}" for name in ("mean", "sd") for i in range(vectors.shape[1])]
    return pd.DataFrame(np.concatenate([mean, sd], axis=1), columns=columns)


def magpie(element_counts: Counts, n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    """Return Magpie statistics, stoichiometry norms and valence orbitals, computed by matminer.

    Source: Ward et al., npj Comput. Mater. 2, 16028 (2016), doi:10.1038/npjcompumats.2016.28.
    """
    different, row = np.unique(element_counts, axis=0, return_inverse=True)
    parts = in_chunks(_magpie_rows, different, len(different), COMPOSITIONS_PER_TASK, "Magpie statistics", n_jobs)
    return pd.concat(parts, ignore_index=True).iloc[row].reset_index(drop=True)


def _magpie_rows(element_counts: list[Counts]) -> pd.DataFrame:
    from matminer.featurizers.composition import ElementProperty, Stoichiometry, ValenceOrbital

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have no electronegativity
        featurizers = [ElementProperty.from_preset("magpie", impute_nan=True), Stoichiometry(), ValenceOrbital(impute_nan=True)]
        compositions = [Composition({int(z): int(row[z]) for z in np.flatnonzero(row)}) for row in element_counts]
        values = [[v for f in featurizers for v in f.featurize(composition)] for composition in compositions]
    return pd.DataFrame(values, columns=[label for f in featurizers for label in f.feature_labels()], dtype=np.float64)


FORMULA_GROUPS: dict[str, Callable[[Counts, int, Path | None], pd.DataFrame]] = {
    "fractions": fractions,
    "magpie": magpie,
    "mat2vec": mat2vec_statistics,
}
