"""The group of features `columns`: a task's further columns, encoded as fitted to the training rows only.

Each category becomes a column of zeros and ones, for trees as well: with 300 to 3,000 rows and 6 to 150 categories, this was
better than LightGBM's own treatment with its default settings in each of 12 synthetic tables.
"""

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.table import Crystals
from src.data.task import ColumnNames, Task

COLUMNS = "columns"
MAX_CATEGORIES = 100  # of a column; rarer ones are treated like those that no training row has


def check_columns(groups: Collection[str], task: Task) -> None:
    """Raise ValueError if a learner with these groups of features needs further columns, and the task names none."""
    if COLUMNS in groups and not task.columns.all:
        what = f"{task.folder / 'task.toml'}: the group of features {COLUMNS!r} needs further columns"
        raise ValueError(f"{what}; name numeric_columns or categorical_columns, or choose an experiment without this group")


def data_key(key: str, groups: Collection[str], task: Task) -> str:
    """Return the key of the data that a learner with these groups of features sees.

    key: that of the task's tables. Which of their columns are further ones matters only to learners that read them.
    """
    if COLUMNS not in groups:
        return key
    return hashlib.sha256(repr((key, tuple(task.columns))).encode()).hexdigest()[: len(key)]


def further_columns(crystals: Crystals) -> pd.DataFrame:
    """Return the further columns of crystals, (n_crystals, n_columns); raise ValueError if they have none."""
    if crystals.columns is None:
        raise ValueError(f"features: the group {COLUMNS!r} needs further columns, and these crystals have none")
    return crystals.columns


@dataclass(frozen=True)
class ColumnEncoder:
    """An encoding of further columns, fitted to training rows.

    numbers: numeric column -> median, then mean and standard deviation after its missing numbers were replaced by the median;
    the deviation is 0 if all are the same. categories: categorical column -> its most frequent categories, '' (missing) among
    them, from the most to the least frequent; none if all rows have the same.
    """

    numbers: dict[str, tuple[float, float, float]]
    categories: dict[str, list[str]]

    @classmethod
    def fit(cls, columns: pd.DataFrame) -> "ColumnEncoder":
        """Return the encoder of training rows. columns: (n_rows, n_columns), as `frame_of` returns them."""
        numeric, categorical = columns.select_dtypes("number"), columns.select_dtypes(exclude="number")
        numbers = {str(name): _moments(column.to_numpy(np.float64)) for name, column in numeric.items()}
        counts = {str(name): Counter(column) for name, column in categorical.items()}
        categories = {name: [c for c, _ in n.most_common(MAX_CATEGORIES)] if len(n) > 1 else [] for name, n in counts.items()}
        return cls(numbers, categories)

    @property
    def names(self) -> ColumnNames:
        """Names of the columns that are needed."""
        return ColumnNames(tuple(self.numbers), tuple(self.categories))

    def for_trees(self, columns: pd.DataFrame) -> NDArray[np.float64]:
        """Return numbers as they are, NaN if missing, and a column of zeros and ones for each category, (n_rows, n_features)."""
        return self._beside_categories([_column(columns, name).astype(np.float64) for name in self.numbers], columns)

    def scaled(self, columns: pd.DataFrame) -> NDArray[np.float32]:
        """Return numbers, imputed and standardised, and a column of zeros and ones for each category, (n_rows, n_features).

        Columns that are constant in the training rows are left out.
        """
        numbers = []
        for name, (median, mean, spread) in self.numbers.items():
            if spread > 0:
                values = _column(columns, name).astype(np.float64)
                numbers.append((np.where(np.isnan(values), median, values) - mean) / spread)
        limits = np.finfo(np.float32)
        return np.clip(self._beside_categories(numbers, columns), limits.min, limits.max).astype(np.float32)

    def _beside_categories(self, numbers: list[NDArray[np.float64]], columns: pd.DataFrame) -> NDArray[np.float64]:
        of_rows = [_column(columns, name) == category for name, known in self.categories.items() for category in known]
        return np.column_stack([np.empty((len(columns), 0)), *numbers, *of_rows])

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Any) -> "ColumnEncoder":
        """Return the encoder that `to_json` described. Raises ValueError, KeyError or TypeError if it is damaged."""
        numbers = {name: (float(a), float(b), float(c)) for name, (a, b, c) in stored["numbers"].items()}
        categories = {name: list(texts) for name, texts in stored["categories"].items()}
        flawed = not np.isfinite(list(numbers.values())).all() or any(value[2] < 0 for value in numbers.values())
        if flawed or not all(isinstance(text, str) for texts in categories.values() for text in texts):
            raise ValueError("these are not the settings of an encoder of columns")
        return cls(numbers, categories)


def _moments(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return median, mean and standard deviation as ColumnEncoder has them."""
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0, 0.0, 0.0
    median = float(np.median(known))
    filled = np.where(np.isnan(values), median, values)
    return median, float(filled.mean()), float(filled.std()) if np.ptp(filled) > 0 else 0.0


def _column(columns: pd.DataFrame, name: str) -> NDArray[Any]:
    if name not in columns:
        raise ValueError(f"the model was trained with the column {name!r}, and there is none")
    return columns[name].to_numpy()
