"""Tables that this repository has written; one that was damaged or edited is refused with a remedy."""

import zlib
from pathlib import Path

import numpy as np
import pandas as pd


def read_id_table(path: Path, columns: list[str], remedy: str) -> pd.DataFrame:
    """Return a table with ids as text and finite numbers in all other columns.

    Raises ValueError, which names file, row and remedy, if it is not one.
    """
    numbers = {name: ["nan", ""] for name in ("e_form", "e_form_pred")}  # an id may be NaN: sodium nitride
    try:
        table = pd.read_csv(path, dtype={"id": str}, keep_default_na=False, na_values=numbers, float_precision="round_trip")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); {remedy}") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; {remedy}")
    twice = table["id"].duplicated()
    if twice.any():
        raise ValueError(f"{path}: {table['id'][twice].iloc[0]!r} is duplicated; {remedy}")
    for name in table.columns.drop("id"):
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            row = table.iloc[bad[0]]
            raise ValueError(f"{path}: {name} of {row['id']!r} is {row[name]!r}, not finite; {remedy}")
    return table
