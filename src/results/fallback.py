"""Predictions for test rows whose structure cannot be read, because a contest's table cannot be corrected."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import pandas as pd

from src.data.crystal import Crystal
from src.data.load import TaskData
from src.data.rows import read_rows
from src.data.table import SYMBOLS, number
from src.data.task import Task
from src.results.intervals import least_of

N_TREES, LEVEL = 300, 0.9
FORMULA_IN_CIF = re.compile(r"""^_chemical_formula_sum\s+['"]?([^'"\n]+)""", re.MULTILINE)
FORMULA_COLUMN = re.compile("formula|composition", re.IGNORECASE)


def formula_predictions(data: TaskData, ids: Sequence[str]) -> pd.DataFrame:
    """Return prediction, lower, upper and remark of unread test rows, indexed by id.

    If the formula is known from count columns, a column of formulas or the head of the CIF, a random forest on the fractions of
    the elements predicts the row, and its out-of-bag errors give the 90% interval. Other rows get the median and the quantiles
    of the training rows.
    """
    target = data.train.targets
    low, high = np.quantile(target, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    usual, center = ("mean", np.mean) if data.task.of_classes else ("median", np.median)
    found = pd.DataFrame({"prediction": center(target), "lower": low, "upper": high}, index=pd.Index(ids, name="id"))
    found["spread"] = np.nan
    found["remark"] = f"its structure cannot be read, and its formula is unknown: the {usual} of the training rows"
    rows = {row[data.task.id_column]: row for row in read_rows(data.task.path("test"))}
    counts = {row_id: counts for row_id in ids if (counts := _counts(rows[row_id], data.task)) is not None}
    if counts:
        from sklearn.ensemble import RandomForestRegressor  # slow to import

        known = data.train.crystals.element_counts
        forest = RandomForestRegressor(N_TREES, min_samples_leaf=2, max_features=0.3, oob_score=True, random_state=0)
        forest.fit(known / known.sum(axis=1, keepdims=True), target)
        half = np.quantile(np.abs(forest.oob_prediction_ - target), LEVEL)
        pred = forest.predict(np.array([one / one.sum() for one in counts.values()]))
        bounds = np.maximum(pred - half, least_of(target)), pred + half
        found.loc[list(counts), ["prediction", "lower", "upper"]] = np.stack([pred, *bounds], axis=1)
        found.loc[list(counts), "remark"] = "its structure cannot be read: predicted from its formula alone"
    if data.task.of_classes:
        found[["lower", "upper"]] = found[["lower", "upper"]].clip(0, 1)
        found["probability"] = found["calibrated"] = found["prediction"]
    return found


def _counts(row: Mapping[str, str], task: Task) -> "np.ndarray | None":
    """Return the number of atoms of each element that a row states, (N_ELEMENTS,); None if it states none."""
    listed = {symbol: number(row[symbol]) for symbol in SYMBOLS if symbol in row and symbol not in task.columns.all}
    counts = "".join(f"{symbol}{np.format_float_positional(n, trim='-')}" for symbol, n in listed.items() if n > 0)
    named = [row[name] for name in row if FORMULA_COLUMN.search(name)]
    for text in (counts, *named, *FORMULA_IN_CIF.findall(row[task.structure_column])[:1]):
        with suppress(ValueError):
            return Crystal.from_formula(text.replace(" ", "")).element_counts
    return None
