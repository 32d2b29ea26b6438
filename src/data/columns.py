"""Further columns of a table, numeric and categorical: fields of text -> a data frame, which is stored beside the crystals."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.data.rows import number
from src.data.task import Task
from src.storage.ragged import RaggedStore

if TYPE_CHECKING:
    import pandas as pd

Field = float | str  # a number, or a category
MAX_NUMBER = 1e100  # so that no square and no sum of squares overflows
MAX_CATEGORY = 200  # characters; categories are stored at the width of the longest
FIELDS = {"numeric": "row", "categorical": "row", "column_names": "column"}  # of a store -> level; one item has all names


class ColumnNames(NamedTuple):
    """Names of further columns by kind."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]

    @classmethod
    def of(cls, task: Task) -> "ColumnNames":
        """Return the names in a task's description."""
        return cls(task.numeric_columns, task.categorical_columns)

    @property
    def all(self) -> tuple[str, ...]:
        """All names, those of numeric columns first."""
        return self.numeric + self.categorical


def parse_fields(row: Mapping[str, str], names: ColumnNames) -> tuple[tuple[Field, ...], str]:
    """Return the fields of a row and what is wrong with them ('' if nothing is).

    A number is NaN if its field is empty. A category is text without spaces around it, and '' if it is missing.
    """
    fields: list[Field] = []
    flaws: list[str] = []
    for name in names.all:
        text = row.get(name)
        flaws += _flaws(name, text, name in names.numeric)
        fields.append(number(text or "") if name in names.numeric else (text or "").strip())
    return tuple(fields), "; ".join(flaws)


def frame_of(fields: Sequence[tuple[Field, ...]], names: ColumnNames) -> "pd.DataFrame":
    """Return the fields of several rows as a table, (n_rows, n_columns): numbers as float64, categories as text."""
    import pandas as pd  # half a second, which the processes that read structures do without

    kinds = {**dict.fromkeys(names.numeric, np.float64), **dict.fromkeys(names.categorical, object)}
    return pd.DataFrame(fields, columns=list(names.all), dtype=object).astype(kinds)


def _flaws(name: str, field: str | None, is_numeric: bool) -> list[str]:
    """Return the reasons why a field is no number, or no category; None stands for a field that is not there."""
    if field is None:
        return [f"no column {name!r}, which the models were trained with; predict from a table that has it"]
    if is_numeric and field.strip() and not abs(number(field)) <= MAX_NUMBER:
        return [
            f"{name!r} is {field[:MAX_CATEGORY]!r}, not a number up to {MAX_NUMBER:g}; leave the field empty if it is unknown"
        ]
    if len(field) > MAX_CATEGORY:
        return [f"{name!r} has {len(field)} characters; the limit is {MAX_CATEGORY}"]
    return []


def texts_of(columns: "pd.DataFrame", names: ColumnNames) -> list[dict[str, str]]:
    """Return the fields of each row of a data frame as they would be in a table; missing values become ''.

    Raises ValueError if one of the columns is missing, or if categories are numbers with a decimal point.
    """
    if missing := [name for name in names.all if name not in columns]:
        raise ValueError(f"columns: no {', '.join(map(repr, missing))}, which the models were trained with")
    for name in names.categorical:
        if columns[name].dtype.kind == "f" and columns[name].notna().any():
            raise ValueError(f"columns: the categories {name!r} are numbers with a decimal point; give the texts of the table")
    chosen = columns[list(names.all)]
    texts = chosen.astype(str).where(chosen.notna(), "")
    return [dict(zip(names.all, row, strict=True)) for row in texts.itertuples(index=False, name=None)]


def with_columns(store: RaggedStore, columns: "pd.DataFrame") -> RaggedStore:
    """Return a store of crystals with their columns, which `columns_of` returns. columns: (n_crystals, n_columns)."""
    numeric, categorical = columns.select_dtypes("number"), columns.select_dtypes(exclude="number")
    names = [*numeric.columns, *categorical.columns]
    arrays = {
        "numeric": numeric.to_numpy(np.float64),
        "categorical": categorical.to_numpy(np.str_),
        "column_names": np.array(names, dtype=np.str_),
    }
    n = len(columns)
    offsets = {"row": np.arange(n + 1), "column": np.append(0, np.full(n, len(names)))}
    return RaggedStore({**store.arrays, **arrays}, {**store.offsets, **offsets}, {**store.levels, **FIELDS})


def columns_of(store: RaggedStore) -> "pd.DataFrame | None":
    """Return the columns of the crystals in a store, (n_crystals, n_columns); None if there are none."""
    if "column_names" not in store.arrays:
        return None
    import pandas as pd  # see `frame_of`

    numeric, categorical, names = (np.array(store.arrays[name]) for name in FIELDS)
    n = numeric.shape[1]
    parts = pd.DataFrame(numeric, columns=names[:n]), pd.DataFrame(categorical.astype(object), columns=names[n:])
    return pd.concat(parts, axis=1)
