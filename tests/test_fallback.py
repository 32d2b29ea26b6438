"""Test rows whose structure cannot be read are predicted from their formula, wherever it is, or get what is usual."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

from src.data.crystal import Crystal
from src.data.task import ColumnNames
from src.results.fallback import formula_predictions

SALT, OXIDE = (Crystal.from_formula(text).element_counts for text in ("NaCl", "Fe2O3"))
ROWS = {  # id -> text of a structure, numbers of Na and Cl, of Fe and O, and a formula
    "counts": ("broken", "2", "2", "0", "0", ""),
    "fractions": ("broken", "0.5", "0.5", "", "", "Fe2O3"),
    "column": ("broken", "0", "0", "0", "0", "Na Cl"),
    "endless": ("broken", "inf", "0", "0", "0", "Na Cl"),
    "head": ("data_x\n_chemical_formula_sum 'Na4 Cl4'\n", "0", "0", "0", "0", "unknown"),
    "oxide": ("broken", "4", "0", "0", "6", ""),
    "nothing": ("broken", "0", "0", "0", "0", "unknown"),
}
SALTS = ["counts", "fractions", "column", "endless", "head"]


def counts_of(n_kinds: int) -> np.ndarray:
    """Return the numbers of atoms in 30 salts and 30 oxides of so many compositions each."""
    lighter = np.arange(len(SALT)) < 12  # sodium and oxygen
    return np.concatenate([[of * (1 + i * n_kinds // 30 * lighter) for i in range(30)] for of in (SALT, OXIDE)])


def predictions(folder: Path, target: np.ndarray, n_kinds: int, of_classes: bool = False) -> pd.DataFrame:
    """Return the predictions for ROWS, in another order, from crystals with these targets."""
    table = pd.DataFrame.from_dict(ROWS, orient="index", columns=["cif", "Na", "Cl", "Fe", "O", "my_formula"])
    table["P"] = 7  # a pressure
    table.rename_axis("id").reset_index().to_csv(folder / "test.csv", index=False)
    named = {"id_column": "id", "structure_column": "cif", "columns": ColumnNames(("P",), ())}
    task = SimpleNamespace(of_classes=of_classes, **named, path=lambda which: folder / f"{which}.csv")
    train = SimpleNamespace(targets=target, crystals=SimpleNamespace(element_counts=counts_of(n_kinds)))
    return formula_predictions(SimpleNamespace(task=task, train=train), [*ROWS][::-1])


def test_rows_are_predicted_from_the_elements_and_intervals_are_as_wide_as_nine_of_ten_errors(tmp_path: Path) -> None:
    """No target is below zero, so no bound is."""
    target = np.concatenate([np.linspace(0, 1, 30), np.linspace(10, 14, 30)]) + np.arange(60) % 2
    found, counts = predictions(tmp_path, target, 10), counts_of(10)
    forest = RandomForestRegressor(300, min_samples_leaf=2, max_features=0.3, oob_score=True, random_state=0)
    forest.fit(counts / counts.sum(axis=1)[:, None], target)
    assert list(found.index) == [*ROWS][::-1] and found["spread"].isna().all()
    assert (found.loc[SALTS, "prediction"] == found.loc["counts", "prediction"]).all()
    salt, oxide, nothing = (
        found.loc[name, ["prediction", "lower", "upper"]].astype(float) for name in ("head", "oxide", "nothing")
    )
    pred, half = (
        forest.predict([SALT / 2, Crystal.from_formula("Na2O3").element_counts / 5]),
        np.quantile(np.abs(forest.oob_prediction_ - target), 0.9),
    )
    np.testing.assert_allclose(salt, [pred[0], 0, pred[0] + half])
    np.testing.assert_allclose(oxide, [pred[1], pred[1] - half, pred[1] + half])
    np.testing.assert_allclose(nothing, np.quantile(target, [0.5, 0.05, 0.95]))
    assert found["remark"].str.endswith("from its formula alone").tolist() == [False, *[True] * 6]
    assert found.loc["nothing", "remark"].endswith("its formula is unknown: the median of the training rows")
    assert predictions(tmp_path, target - 1, 10).loc["head", "lower"] < -1


def test_of_classes_bounds_are_probabilities_and_the_share_of_ones_is_usual(tmp_path: Path) -> None:
    found = predictions(tmp_path, (np.arange(60) % 10 < 3 + 4 * (np.arange(60) > 29)).astype(float), 1, of_classes=True)
    assert found.loc["head", "prediction"] == pytest.approx(0.3, abs=0.1) and found.loc["nothing", "prediction"] == 0.5
    assert found.loc["nothing", "remark"].endswith("the mean of the training rows")
    assert (found.loc["head", "lower"], found.loc["oxide", "upper"]) == (0, 1)
    assert found["lower"].between(0, 0.1).all() and found["upper"].between(0.9, 1).all()
    assert found["probability"].equals(found["prediction"]) and found["calibrated"].equals(found["prediction"])
