"""Finished experiments side by side, paired by crystal and by fold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.results.blend import fixed_blend, stack_oof, stack_test
from src.results.intervals import calibrate
from src.results.metrics import bootstrap_interval, scores
from src.results.predictions import Predictions


@dataclass(frozen=True)
class Difference:
    """Of OOF MAE, eV/atom, to a reference; negative is better.

    low, high: 95% bootstrap interval over crystals. folds_won, n_folds: in how many folds the MAE is lower.
    """

    mae: float
    low: float
    high: float
    folds_won: int
    n_folds: int

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes zero."""
        return not self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.mae:+.4f} ({self.low:+.4f} to {self.high:+.4f}){' *' if self.is_significant else ''}"


def paired_difference(reference: Predictions, other: Predictions) -> Difference:
    """What `other` gains on `reference`, over the same crystals and over the folds of `reference`."""
    e_form, oof = stack_oof([reference, other])
    error = np.abs(oof - e_form[:, None])
    difference = error[:, 1] - error[:, 0]
    low, high = bootstrap_interval(difference)
    by_fold = pd.Series(difference).groupby(reference.oof["fold"].to_numpy()).mean()
    return Difference(float(difference.mean()), low, high, int((by_fold < 0).sum()), len(by_fold))


def score_rows(members: Sequence[Predictions], labels: pd.Series | None) -> list[dict]:
    """One row of figures for each experiment; differences are to the first.

    labels: id -> target of the test rows; with them, test scores and the share of crystals inside the 90% intervals.
    """
    rows = []
    for member in members:
        e_form, oof = stack_oof([member])
        oof_scores = scores(e_form, oof[:, 0])
        row: dict = {"experiment": member.name, "oof_mae": oof_scores["mae"], "fold_mae_sd": member.metrics["fold_mae_sd"]}
        row["oof_rmse"] = oof_scores["rmse"]
        if labels is not None:
            pred = stack_test([member], list(labels.index))[:, 0]
            test = scores(labels.to_numpy(), pred)
            half_width = calibrate([member], fixed_blend(np.ones(1), oof), list(labels.index)).half_width
            inside = float((np.abs(labels.to_numpy() - pred) <= half_width).mean())
            row |= {"test_mae": test["mae"], "test_rmse": test["rmse"], "inside_90": inside}
        row |= {"cpu_seconds": member.metrics["cpu_seconds"], "n_parameters": member.metrics["n_parameters"]}
        row["difference"] = None if member is members[0] else paired_difference(members[0], member)
        rows.append(row)
    return rows


def error_correlation(members: Sequence[Predictions]) -> pd.DataFrame:
    """Pearson correlation of signed OOF errors; a low one between good experiments is what a blend lives on."""
    e_form, oof = stack_oof(members)
    names = [member.name for member in members]
    return pd.DataFrame(np.corrcoef(oof - e_form[:, None], rowvar=False).reshape(len(names), -1), index=names, columns=names)
