"""What can be wrong with a task's tables although every row of them is right."""

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Element
from tqdm import tqdm

from src.data.describe import describe
from src.data.table import CrystalTable

Values = NDArray[np.float64]
N_TELLING = 5


def _features(table: CrystalTable) -> pd.DataFrame:
    """Fractions of elements, size, density of atoms and angles: what is known of a crystal without its energy."""
    counts = table.crystals.element_counts
    present = [f"fraction of {Element.from_Z(z).symbol}" for z in range(1, 104)]
    features = pd.DataFrame(counts[:, 1:104] / counts.sum(axis=1, keepdims=True), columns=present)
    crystals = [table.crystals[i] for i in range(len(table.ids))]
    lengths = np.array([np.sort(np.linalg.norm(crystal.lattice, axis=1)) for crystal in crystals])
    return features.assign(
        **{"number of elements": (counts > 0).sum(axis=1), "number of atoms": counts.sum(axis=1)},
        **{"volume per atom": [crystal.volume / crystal.n_atoms for crystal in crystals]},
        **{f"{name} lattice vector": lengths[:, i] for i, name in enumerate(("shortest", "middle", "longest"))},
    )


def adversarial_auc(train: CrystalTable, test: CrystalTable) -> tuple[Values, list[str]]:
    """Area under the ROC curve of five folds of a classifier of test against training crystals, and what it looked at most.

    0.5: the tables are drawn alike, and cross-validation says what the test set will say.
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


def target_by_fold(e_form: Values, fold: NDArray[np.int64]) -> pd.DataFrame:
    """Size, mean, standard deviation and quantiles of the target, a row for each fold."""
    return pd.Series(e_form).groupby(fold).describe(percentiles=[0.05, 0.5, 0.95]).rename_axis("fold").astype({"count": int})


def missing_elements(element_counts: NDArray[np.int64], other_counts: NDArray[np.int64]) -> list[str]:
    """Symbols of elements that the other crystals have and these have not. Both: (n_crystals, N_ELEMENTS)."""
    present = [counts.sum(axis=0) > 0 for counts in (element_counts, other_counts)]
    return [Element.from_Z(int(z)).symbol for z in np.flatnonzero(present[1] & ~present[0])]


def duplicate_groups(train: CrystalTable, test: CrystalTable) -> list[pd.DataFrame]:
    """Crystals that StructureMatcher finds equal (scaled to one volume), among those of one reduced formula and space group.

    Each group has the columns table (`train` or `test`), id, formula, space_group.
    """
    tables = {"train": train, "test": test}
    everything = pd.concat([describe(table).assign(table=name, row=np.arange(len(table.ids))) for name, table in tables.items()])
    candidates = [group for _, group in everything.groupby(["formula", "space_group"]) if len(group) > 1]
    matcher, found = StructureMatcher(), []
    for group in tqdm(candidates, desc="matching structures", disable=len(candidates) < 50, mininterval=1):
        structures = [
            tables[name].crystals[int(row)].to_structure() for name, row in zip(group["table"], group["row"], strict=True)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matched = matcher.group_structures(structures)
        for equal in matched:
            if len(equal) > 1:
                rows = [next(i for i, own in enumerate(structures) if own is structure) for structure in equal]
                found.append(group.iloc[rows][["table", "id", "formula", "space_group"]].reset_index(drop=True))
    return found
