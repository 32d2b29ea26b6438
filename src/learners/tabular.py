"""Tables of features as inputs, for learners that read no graphs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config import ForestConfig, GaussianProcessConfig, GbdtConfig, GbdtEnsembleConfig
from src.data.table import Crystals
from src.features.columns import COLUMNS, ColumnEncoder, further_columns
from src.features.groups import cached_features
from src.learners.learner import Learner, Watched
from src.storage.names import HISTORY

PREDICTED_AT_ONCE = 1000  # rows
Tables = dict[str, NDArray[np.floating]]  # group -> (n_rows, n_features)
C = TypeVar("C", GbdtConfig, GbdtEnsembleConfig, ForestConfig, GaussianProcessConfig)


class TableInputs:
    """Feature tables of the same crystals by group; row numbers select crystals.

    tables: group -> (n_crystals, n_features of the group); `columns` -> the further columns as in the task's table.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        self.tables = dict(tables)

    def __len__(self) -> int:
        return len(next(iter(self.tables.values())))

    def __getitem__(self, rows: NDArray[np.integer]) -> "TableInputs":
        return TableInputs({group: table.iloc[rows] for group, table in self.tables.items()})

    def fit_encoder(self, groups: tuple[str, ...]) -> ColumnEncoder | None:
        """Return the encoder fitted to these crystals' further columns; None if the groups do not include them."""
        return ColumnEncoder.fit(self.tables[COLUMNS]) if COLUMNS in groups else None

    def matrix(self, groups: tuple[str, ...], encoder: ColumnEncoder | None = None) -> NDArray[np.floating]:
        """Return the groups side by side, (n_crystals, n_features)."""
        return np.concatenate(list(self.tables_of(groups, encoder).values()), axis=1)

    def tables_of(self, groups: tuple[str, ...], encoder: ColumnEncoder | None = None) -> Tables:
        """Return each group, (n_crystals, n_features of the group); further columns as the encoder makes them."""
        encoded = {COLUMNS: encoder.for_trees(self.tables[COLUMNS])} if encoder else {}
        return {g: encoded[g] if g in encoded else self.tables[g].to_numpy() for g in groups}


class TableLearner(Learner[C]):
    """A learner that reads tables of features."""

    def prepare_inputs(self, crystals: Crystals, key: str, cache: Path | None, n_jobs: int) -> TableInputs:
        """Return a table for each group of features."""
        groups = self.config.feature_groups
        computed = {g: cached_features(crystals, key, (g,), cache, n_jobs, self.word2vec) for g in groups if g != COLUMNS}
        return TableInputs(computed | ({COLUMNS: further_columns(crystals)} if COLUMNS in groups else {}))


def predicted_in_parts(predict: Callable[[Any], NDArray[np.float64]], x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return what a function predicts for rows, (n_rows,), some at a time to save memory. x: (n_rows, n_features)."""
    return np.concatenate([np.empty(0), *(predict(x[i : i + PREDICTED_AT_ONCE]) for i in range(0, len(x), PREDICTED_AT_ONCE))])


def write_history(learner: TableLearner[Any], folder: Path, watched: Watched | None) -> None:
    """Write the history of a learner that is fitted in one step, and report its error on watched rows."""
    error = watched.error(learner.predict_members(watched.inputs), learner.config.of_classes) if watched else float("nan")
    (folder / HISTORY).write_text(f"step,valid_mae\n1,{error}\n")
    if watched:
        watched.report(error)
