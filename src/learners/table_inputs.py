"""Tables of features as inputs of learners."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.table import Crystals
from src.features.columns import COLUMNS, ColumnEncoder, further_columns
from src.features.tables import cached_features

Encode = Callable[[pd.DataFrame], NDArray[np.floating]]


class TableInputs:
    """Feature tables of the same crystals by group; row numbers select crystals.

    tables: group -> (n_crystals, n_features of the group); `columns` -> the further columns as they are in the task's table.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        self.tables = dict(tables)

    @classmethod
    def prepare(
        cls, groups: Iterable[str], crystals: Crystals, key: str, cache: Path | None, n_jobs: int, word2vec: Path | None
    ) -> "TableInputs":
        """Return the tables of these groups, each once; the other arguments are those of `cached_features`."""
        tables = {}
        for g in dict.fromkeys(groups):
            own = g == COLUMNS
            tables[g] = further_columns(crystals) if own else cached_features(crystals, key, (g,), cache, n_jobs, word2vec)
        return cls(tables)

    def __len__(self) -> int:
        return len(next(iter(self.tables.values())))

    def __getitem__(self, rows: NDArray[np.integer]) -> "TableInputs":
        return TableInputs({group: table.iloc[rows] for group, table in self.tables.items()})

    def fit_encoder(self, groups: tuple[str, ...]) -> ColumnEncoder | None:
        """Return the encoder that these crystals' further columns give; None if the groups are without them."""
        return ColumnEncoder.fit(self.tables[COLUMNS]) if COLUMNS in groups else None

    def matrix(self, groups: tuple[str, ...], encode: Encode | None = None) -> NDArray[np.floating]:
        """Return the groups side by side, (n_crystals, n_features). encode: further columns -> features."""
        parts = [encode(self.tables[g]) if g == COLUMNS and encode else self.tables[g].to_numpy() for g in groups]
        return np.concatenate(parts, axis=1)
