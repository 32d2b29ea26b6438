"""Tables of features as inputs of learners."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.table import Crystals
from src.features.tables import cached_features


class TableInputs:
    """Feature tables of the same crystals by group; row numbers select crystals.

    tables: group -> (n_crystals, n_features of the group).
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        self.tables = dict(tables)

    @classmethod
    def prepare(
        cls, groups: Iterable[str], crystals: Crystals, key: str, cache: Path, n_jobs: int, word2vec: Path | None
    ) -> "TableInputs":
        """Return the tables of these groups, each once; the other arguments are those of `cached_features`."""
        return cls({g: cached_features(crystals, key, (g,), cache, n_jobs, word2vec) for g in dict.fromkeys(groups)})

    def __len__(self) -> int:
        return len(next(iter(self.tables.values())))

    def __getitem__(self, rows: NDArray[np.integer]) -> "TableInputs":
        return TableInputs({group: table.iloc[rows] for group, table in self.tables.items()})

    def matrix(self, groups: tuple[str, ...]) -> NDArray[np.float32]:
        """Return the groups side by side, (n_crystals, n_features)."""
        return np.concatenate([self.tables[group].to_numpy() for group in groups], axis=1)
