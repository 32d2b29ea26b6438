"""Tables and figures that runs have left, read with a remedy for each that was damaged or edited."""

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

NUMBER = (int, float)
Kinds = dict[str, type | tuple[type, ...]]
FOLD_METRICS: Kinds = {
    "mae": NUMBER,
    "n_parameters": int,
    "cpu_seconds": NUMBER,
    "wall_seconds": NUMBER,
    "resumed": bool,
    "versions": dict,
}
METRICS: Kinds = {
    "oof_mae": NUMBER,
    "fold_maes": list,
    "fold_mae_sd": NUMBER,
    "n_parameters": int,
    "cpu_seconds": NUMBER,
    "fold_wall_seconds": list,
}
SAME = 1e-6  # eV/atom; a stored score and that of the stored rows differ by rounding only


def remedy(path: Path) -> str:
    """What to do about a damaged file of a run, or of a published one."""
    if path.parent.name == "results":
        return f"restore it: git checkout {path.parent.parent.name}/results"
    if path.parent.name.startswith("fold_"):
        return f"remove the folder {path.parent}, and train.py trains that fold again"
    return "remove it, and train.py writes it anew"


def read_csv(path: Path, columns: list[str]) -> pd.DataFrame:
    """A table of a run: id as text, all else finite numbers; ValueError that names file, row and remedy where it is not."""
    numbers = {name: ["nan", ""] for name in ("e_form", "e_form_pred")}  # an id may be NaN: sodium nitride
    try:
        table = pd.read_csv(path, dtype={"id": str}, keep_default_na=False, na_values=numbers, float_precision="round_trip")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); {remedy(path)}") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; {remedy(path)}")
    twice = table["id"].duplicated()
    if twice.any():
        raise ValueError(f"{path}: {table['id'][twice].iloc[0]!r} stands there twice; {remedy(path)}")
    for name in table.columns.drop("id"):
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            row = table.iloc[bad[0]]
            raise ValueError(f"{path}: {name} of {row['id']!r} is {row[name]!r}, not finite; {remedy(path)}")
    return table


def check_score(path: Path, table: pd.DataFrame, mae: float) -> None:
    """ValueError where the rows of a file do not have the MAE that was stored beside them."""
    found = float(np.abs(table["e_form"] - table["e_form_pred"]).mean())
    if not abs(found - mae) <= SAME:
        raise ValueError(
            f"{path}: its rows have an MAE of {found:.6f}, metrics.json says {mae:.6f}: one was edited; {remedy(path)}"
        )
