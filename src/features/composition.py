"""Composition statistics: element counts -> columns for LightGBM."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from pymatgen.core import Composition, Element
from tqdm import tqdm

from src.config import ElementConfig
from src.data.crystal import N_ELEMENTS
from src.features.elements import element_vectors

Counts = NDArray[np.int64]


def composition_features(
    element_counts: Counts, groups: tuple[str, ...], n_jobs: int = 1, word2vec: Path | None = None
) -> pd.DataFrame:
    """One row for each crystal, the columns of the named groups side by side.

    element_counts: (n_crystals, N_ELEMENTS).
    groups: of GROUPS.
    word2vec: a gensim file to take mat2vec from.
    """
    unknown = set(groups) - set(GROUPS)
    if unknown:
        raise ValueError(f"learner.features: unknown {sorted(unknown)}; there are {', '.join(GROUPS)}")
    return pd.concat([GROUPS[name](element_counts, n_jobs, word2vec) for name in groups], axis=1)


def fractions(element_counts: Counts, n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    """Atomic fraction of each element."""
    columns = [f"x_{Element.from_Z(z).symbol}" for z in range(1, N_ELEMENTS)]
    return pd.DataFrame((element_counts / element_counts.sum(axis=1, keepdims=True))[:, 1:], columns=columns)


def mat2vec_statistics(element_counts: Counts, n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    """Mean and standard deviation over the atoms of each component of mat2vec."""
    vectors = element_vectors(ElementConfig(("mat2vec",)), word2vec)
    x = element_counts / element_counts.sum(axis=1, keepdims=True)
    mean = x @ vectors
    sd = np.sqrt(np.maximum(x @ vectors**2 - mean**2, 0))
    columns = [f"mat2vec_{name}_{i}" for name in ("mean", "sd") for i in range(vectors.shape[1])]
    return pd.DataFrame(np.concatenate([mean, sd], axis=1), columns=columns)


def magpie(element_counts: Counts, n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    """Magpie statistics, stoichiometry norms and valence orbitals by matminer.

    Source: Ward et al., npj Comput. Mater. 2, 16028 (2016), doi:10.1038/npjcompumats.2016.28.
    """
    different, row = np.unique(element_counts, axis=0, return_inverse=True)
    bar = tqdm(total=len(different), desc="Magpie statistics", mininterval=1, disable=len(different) < 500)
    chunks = np.array_split(different, max(1, len(different) // 64))
    parts = []
    for part in Parallel(n_jobs=n_jobs if len(different) >= 500 else 1, return_as="generator")(
        delayed(_magpie_rows)(chunk) for chunk in chunks
    ):
        parts.append(part)
        bar.update(len(part))
    bar.close()
    return pd.concat(parts, ignore_index=True).iloc[row].reset_index(drop=True)


def _magpie_rows(element_counts: Counts) -> pd.DataFrame:
    from matminer.featurizers.composition import ElementProperty, Stoichiometry, ValenceOrbital

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on noble gases without an electronegativity
        featurizers = [ElementProperty.from_preset("magpie", impute_nan=True), Stoichiometry(), ValenceOrbital(impute_nan=True)]
        compositions = [Composition({int(z): int(row[z]) for z in np.flatnonzero(row)}) for row in element_counts]
        values = [[v for f in featurizers for v in f.featurize(composition)] for composition in compositions]
    return pd.DataFrame(values, columns=[label for f in featurizers for label in f.feature_labels()], dtype=np.float64)


GROUPS: dict[str, Callable[[Counts, int, Path | None], pd.DataFrame]] = {
    "fractions": fractions,
    "magpie": magpie,
    "mat2vec": mat2vec_statistics,
}
