"""Faults of a task's tables that no single row reveals, and a description of its crystals."""

import warnings
from collections.abc import Sequence

import moyopy
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Element, Structure
from tqdm import tqdm

from src.data.crystal import Crystal
from src.data.load import TaskData
from src.data.table import CrystalTable
from src.features.geometry import crystal_system

Values = NDArray[np.float64]
N_TELLING = 5
MAX_GROUPS = 10
SAME_SITES = 1e-2  # Angstrom; looser than the graphs' tolerance: the aim is to recognise a symmetry, not to impose it


def audit(data: TaskData, fold: NDArray[np.int64]) -> str:
    """Return the findings on the tables of a task as text. fold: (n_train,)."""
    groups, has_structure = duplicate_groups(data.train, data.test), data.train.crystals.has_structure
    counts, test_counts = (table.crystals.element_counts for table in (data.train, data.test))
    lines = []
    if data.task.has_test:
        auc, telling = adversarial_auc(data.train, data.test)
        spread = f"AUC {auc.mean():.3f} ± {auc.std(ddof=1):.3f} over five folds"
        lines.append(
            f"adversarial validation: {spread} (0.5: cannot be told apart)\n  most telling features: {', '.join(telling)}\n"
        )
    if n_disordered := sum(int(table.crystals.is_disordered.sum()) for table in (data.train, data.test)):
        lines.append(f"{n_disordered} structures are disordered\n")
    lines += [
        f"target by fold ({data.task.unit}):\n{target_by_fold(data.train.targets, fold).round(3).to_string()}\n",
        f"{_duplicates_text(groups, pd.Series(fold, index=data.train.ids), has_structure)}\n",
    ]
    if data.task.has_test:
        lines.append(f"elements that only test crystals have: {', '.join(missing_elements(counts, test_counts)) or 'none'}")
    for k in range(int(fold.max()) + 1):
        absent = missing_elements(counts[fold != k], counts[fold == k])
        if absent:
            lines.append(f"elements that only crystals of fold {k} have: {', '.join(absent)}")
    return "\n".join(lines).rstrip("\n")


def _duplicates_text(groups: list[pd.DataFrame], fold: pd.Series, has_structure: bool) -> str:
    """Return how many groups of duplicates cross tables or folds, and the first of them. fold: by id of the crystal."""
    across = [group for group in groups if group["table"].nunique() == 2]
    folds = [group.loc[group["table"] == "train", "id"].map(fold).nunique() for group in groups]
    what = "matching structures" if has_structure else "equal formulas"
    lines = [
        f"{len(groups)} groups of {what}; {len(across)} with training and test crystals, "
        f"{sum(n > 1 for n in folds)} with crystals of different folds"
    ]
    if any(n > 1 for n in folds):
        lines.append(
            '  scores out of fold are too good for these; FoldConfig("grouped") keeps them together, as exp/auto.py does'
        )
    for group in groups[:MAX_GROUPS]:
        ids = ", ".join(f"{row.id} ({row.table})" for row in group.itertuples())
        space_group = f" (space group {group['space_group'].iloc[0]})" if has_structure else ""
        lines.append(f"  {group['formula'].iloc[0]}{space_group}: {ids}")
    if len(groups) > MAX_GROUPS:
        lines.append(f"  and {len(groups) - MAX_GROUPS} more")
    return "\n".join(lines)


def _features(table: CrystalTable) -> pd.DataFrame:
    """Return fractions of elements, size, volume per atom and lattice lengths: crystals described without their energy.

    Formulas have neither volume nor lengths.
    """
    counts = table.crystals.element_counts
    present = [f"fraction of {Element.from_Z(z).symbol}" for z in range(1, 104)]
    features = pd.DataFrame(counts[:, 1:104] / counts.sum(axis=1, keepdims=True), columns=present)
    features = features.assign(**{"number of elements": (counts > 0).sum(axis=1), "number of atoms": counts.sum(axis=1)})
    if not table.crystals.has_structure:
        return features
    crystals = [table.crystals[i] for i in range(len(table.ids))]
    lengths = np.array([np.sort(np.linalg.norm(crystal.lattice, axis=1)) for crystal in crystals])
    return features.assign(
        **{"volume per atom": [crystal.volume / crystal.n_atoms for crystal in crystals]},
        **{f"{name} lattice vector": lengths[:, i] for i, name in enumerate(("shortest", "middle", "longest"))},
    )


def adversarial_auc(train: CrystalTable, test: CrystalTable) -> tuple[Values, list[str]]:
    """Return the area under the ROC curve of a classifier of test against training crystals in five folds, and its main features.

    0.5: the tables come from one distribution, and cross-validation predicts the test score.
    """
    from lightgbm import LGBMClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    x = pd.concat([_features(train), _features(test)], ignore_index=True)
    is_test = np.repeat([0, 1], [len(train.ids), len(test.ids)])
    values, areas, gains = x.to_numpy(dtype=np.float64), [], np.zeros(x.shape[1])
    for fitted, scored in StratifiedKFold(5, shuffle=True, random_state=0).split(values, is_test):
        model = LGBMClassifier(
            n_estimators=200, learning_rate=0.05, num_leaves=15, importance_type="gain", random_state=0, n_jobs=1, verbose=-1
        )
        model.fit(values[fitted], is_test[fitted])
        areas.append(roc_auc_score(is_test[scored], model.booster_.predict(values[scored])))
        gains += model.feature_importances_
    return np.array(areas), [str(x.columns[i]) for i in np.argsort(-gains)[:N_TELLING]]


def target_by_fold(target: Values, fold: NDArray[np.int64]) -> pd.DataFrame:
    """Return size, mean, standard deviation and quantiles of the target, one row per fold."""
    return pd.Series(target).groupby(fold).describe(percentiles=[0.05, 0.5, 0.95]).rename_axis("fold").astype({"count": int})


def missing_elements(element_counts: NDArray[np.int64], other_counts: NDArray[np.int64]) -> list[str]:
    """Return the symbols of elements that the other crystals have and these lack. Both: (n_crystals, N_ELEMENTS)."""
    present = [counts.sum(axis=0) > 0 for counts in (element_counts, other_counts)]
    return [Element.from_Z(int(z)).symbol for z in np.flatnonzero(present[1] & ~present[0])]


def duplicate_groups(train: CrystalTable, test: CrystalTable) -> list[pd.DataFrame]:
    """Return groups of crystals that StructureMatcher finds equal at one volume, within one reduced formula and space group.

    Each group has the columns table (`train` or `test`), id, formula, space_group. Among formulas, equal ones form groups.
    """
    tables = {"train": train, "test": test}
    everything = pd.concat([describe(table).assign(table=name, row=np.arange(len(table.ids))) for name, table in tables.items()])
    has_structure = train.crystals.has_structure
    same = ["formula", "space_group"] if has_structure else ["formula"]
    candidates = [group for _, group in everything.groupby(same) if len(group) > 1]
    if not has_structure:
        return [group[["table", "id", "formula"]].reset_index(drop=True) for group in candidates]
    found = []
    for group in tqdm(candidates, desc="matching structures", disable=len(candidates) < 50, mininterval=1):
        structures = [
            tables[name].crystals[int(row)].to_structure() for name, row in zip(group["table"], group["row"], strict=True)
        ]
        for rows in _matching(structures):
            found.append(group.iloc[rows][["table", "id", "formula", "space_group"]].reset_index(drop=True))
    return found


def _matching(structures: list[Structure]) -> list[list[int]]:
    """Return the numbers of the structures of each group that match, if it has two or more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matched = StructureMatcher().group_structures(structures)
    groups = [[next(i for i, own in enumerate(structures) if own is structure) for structure in equal] for equal in matched]
    return [group for group in groups if len(group) > 1]


def space_group_number(crystal: Crystal) -> int:
    """Return the number of the space group in the International Tables."""
    return int(moyopy.MoyoDataset(crystal.to_moyo(), symprec=SAME_SITES).number)


def describe(table: CrystalTable, chosen: Sequence[int] | NDArray[np.int64] | None = None) -> pd.DataFrame:
    """Return one row for each crystal: id, formula, n_elements, n_atoms, space_group, crystal_system.

    The last two columns are left out if there are formulas among them. chosen: the rows of the table (None: all).
    """
    chosen = range(len(table.ids)) if chosen is None else chosen
    rows, has_structure = [], table.crystals.has_structure
    for i in tqdm(chosen, desc="space groups", disable=len(chosen) < 500, mininterval=1):
        crystal = table.crystals[i]
        row = [table.ids[i], crystal.reduced_formula, np.count_nonzero(crystal.element_counts), crystal.n_atoms]
        if has_structure:
            number = space_group_number(crystal)
            row += [number, crystal_system(number)]
        rows.append(row)
    symmetry = ["space_group", "crystal_system"] if has_structure else []
    return pd.DataFrame(rows, columns=["id", "formula", "n_elements", "n_atoms", *symmetry])
