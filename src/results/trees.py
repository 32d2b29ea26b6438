"""Boosted trees as arrays: LightGBM takes over a second to import, and is only needed to grow them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.storage.files import npz_bytes, read_npz, write_atomic

Values = NDArray[np.floating]
N_GROWN, N_LEAVES = 80, 8  # trees, and leaves of each at most
GROWN = {
    "objective": "quantile", "learning_rate": 0.08, "num_leaves": N_LEAVES, "min_child_samples": 30, "colsample_bytree": 0.5,
    "subsample": 0.7, "subsample_freq": 1, "max_bin": 63, "seed": 0, "deterministic": True, "force_row_wise": True,
    "num_threads": 1, "verbose": -1,
}  # fmt: skip


class Trees(NamedTuple):
    """Boosted trees for a quantile.

    feature, threshold, left, right: (n_trees, N_LEAVES - 1), of splits, the first of which is the root: `left` is where a value
    of at most the threshold leads to, a split i or a leaf ~i. leaf: (n_trees, N_LEAVES), whose sum over trees is predicted.
    """

    feature: NDArray[np.int64]
    threshold: Values
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    leaf: Values

    @classmethod
    def grow(cls, signs: Values, target: Values, quantile: float) -> "Trees":
        """Return trees for a quantile of a target, (n,). signs: (n, n_signs), finite."""
        import lightgbm  # slow

        booster = lightgbm.train(GROWN | {"alpha": quantile}, lightgbm.Dataset(signs, target), N_GROWN)
        columns = {"split_feature": np.int64, "threshold": np.float64, "left_child": np.int64, "right_child": np.int64}
        splits = [np.zeros((N_GROWN, N_LEAVES - 1), kind) for kind in columns.values()]
        found = cls(*[*splits, np.zeros((N_GROWN, N_LEAVES))])
        found.left[:], found.right[:] = -1, -1  # a tree without splits
        for i, text in enumerate(booster.model_to_string().split("\nTree=")[1:]):
            lines = dict(line.split("=", 1) for line in text.split("\n\n")[0].splitlines()[1:])
            for name, array in zip((*columns, "leaf_value"), found, strict=True):
                numbers = np.array(lines.get(name, "").split(), dtype=array.dtype)
                array[i, : len(numbers)] = numbers
        return found

    def predict(self, signs: Values) -> Values:
        """Return what LightGBM predicts, to the last bit, (n,)."""
        tree = np.arange(len(self.leaf))[:, None]
        row = np.arange(len(signs))
        at = np.zeros((len(self.leaf), len(signs)), dtype=np.int64)
        while (at >= 0).any():
            split = np.maximum(at, 0)
            goes_left = signs[row, self.feature[tree, split]] <= self.threshold[tree, split]
            at = np.where(at < 0, at, np.where(goes_left, self.left[tree, split], self.right[tree, split]))
        return self.leaf[tree, ~at].cumsum(axis=0)[-1]  # one after the other: `sum` has another order for a single row


def write_trees(path: Path, key: str, trees: Sequence[Trees]) -> None:
    """Write trees, with the key of what they were grown from."""
    arrays = {name: np.stack([getattr(one, name) for one in trees]) for name in Trees._fields}
    write_atomic(path, npz_bytes({"key": key, **arrays}))


def read_trees(path: Path, key: str) -> list[Trees]:
    """Return what `write_trees` wrote with this key; nothing if there is no such file. Raises ValueError if it is damaged."""
    if not path.is_file():
        return []
    grown_from, *arrays = read_npz(path, ("key", *Trees._fields))
    return [Trees(*each) for each in zip(*arrays, strict=True)] if str(grown_from) == key else []
