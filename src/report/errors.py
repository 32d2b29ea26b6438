"""Mean errors by number of elements and by element, out of fold and on the test set."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Element

from src.data.load import TaskData
from src.report.page import Cell, Section, html_table, note
from src.results.blend import stack_test, stack_test_folds
from src.results.predictions import Predictions

Values = NDArray[np.float64]
Present = NDArray[np.bool_]
Group = Callable[[Present, Values], Present]  # (n_crystals, N_ELEMENTS) and absolute errors (n_crystals,) -> the crystals in it
WORST = 0.05
N_HARDEST, RAREST = 5, 0.01  # elements to show, and the share of crystals that one must be in


def errors_section(data: TaskData, best: Predictions, error: Values, labels: pd.Series | None) -> Section:
    """Return the MAE of kinds of crystals and, with test labels, where the test error comes from.

    error: (n_crystals,), absolute, out of fold.
    """
    columns = [(data.train.crystals.element_counts > 0, error)]
    header = ["crystals", "number", "OOF MAE", "share of the error"]
    text = f"{best.name}, {data.task.unit}. Shown are the elements whose crystals add most to the mean error."
    if labels is not None:
        one, mean = errors_on_test(best, labels.reindex(data.test.ids))
        columns += [(data.test.crystals.element_counts > 0, own) for own in (one, mean)]
        header += ["test crystals", "MAE, one fold model", "share of the error", "MAE, mean of fold models", "share of the error"]
        text += (
            f" One fold model has an MAE of {one.mean():.4f} on the test set. Out-of-fold predictions are of one fold model too, "
            f"so {error.mean() - one.mean():+.4f} is due to which crystals are in the test set, and "
            f"{one.mean() - mean.mean():+.4f} to averaging the fold models."
        )
    rows = [error_row(name, group, columns) for name, group in groups(*columns[0]).items()]
    return "Where the error is", note(text) + html_table(header, rows)


def errors_on_test(member: Predictions, labels: pd.Series) -> tuple[Values, Values]:
    """Return the absolute test errors of a fold model, as their mean over folds, and of the mean of the fold models.

    labels: id -> target of the test rows. Both: (n_test,).
    """
    ids, truth = list(labels.index), labels.to_numpy()
    folds = stack_test_folds([member], ids, len(member.metrics["fold_maes"]))[:, :, 0]
    return np.abs(folds - truth[:, None]).mean(axis=1), np.abs(stack_test([member], ids)[:, 0] - truth)


def groups(present: Present, error: Values) -> dict[str, Group]:
    """Return the kinds of crystals to show; the elements among them are those that add most to this error."""
    added = np.where(present.mean(axis=0) >= RAREST, present.T @ (error - error.mean()), -np.inf)
    hardest = [int(z) for z in np.argsort(-added)[:N_HARDEST] if added[z] > 0]
    found: dict[str, Group] = {"all": _of_elements(0, present.shape[1])}
    found |= {f"the worst {WORST:.0%}": _worst, "all others": lambda present, error: ~_worst(present, error)}
    found |= {f"{n} element{'s' * (n > 1)}": _of_elements(n, n) for n in (1, 2, 3)}
    found["4 elements and more"] = _of_elements(4, present.shape[1])
    return found | {f"with {Element.from_Z(z).symbol}": _with_element(z) for z in hardest}


def _of_elements(low: int, high: int) -> Group:
    return lambda present, error: (present.sum(axis=1) >= low) & (present.sum(axis=1) <= high)


def _with_element(z: int) -> Group:
    return lambda present, error: present[:, z]


def _worst(present: Present, error: Values) -> Present:
    """Return which crystals have the largest errors, WORST of all."""
    rank = np.empty(len(error), dtype=np.int64)
    rank[np.argsort(-error, kind="stable")] = np.arange(len(error))
    return rank < round(WORST * len(error))


def error_row(name: str, group: Group, columns: list[tuple[Present, Values]]) -> list[Cell]:
    """Return the number, the MAE and the share of the error of one kind of crystals in each column.

    columns: elements present, (n_crystals, N_ELEMENTS), and absolute errors, (n_crystals,), out of fold, then on the test set.
    """
    cells: list[Cell] = [name]
    for i, (present, error) in enumerate(columns):
        own = group(present, error)
        mae, share = (float(error[own].mean()), float(error[own].sum() / error.sum())) if own.any() else (float("nan"), 0.0)
        number: list[Cell] = [(str(own.sum()), float(own.sum()))] if i < 2 else []
        cells += [*number, ("" if np.isnan(mae) else f"{mae:.4f}", mae), (f"{share:.1%}", share)]
    return cells
