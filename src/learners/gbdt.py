"""LightGBM on tables of features."""

import csv
import hashlib
import json
import logging
import time
from importlib.metadata import version
from pathlib import Path
from typing import Self

import lightgbm
import numpy as np
import pandas as pd

from src.config import GbdtConfig, from_dict, to_dict
from src.data.table import Crystals
from src.features import composition, elements
from src.features.composition import composition_features
from src.features.potential import cached_potential, potential_features
from src.files import write_atomic, write_json
from src.learners.learner import Values, Watched

log = logging.getLogger(__name__)
EVERY = 100  # trees between two lines of history


class TableInputs:
    """Rows of a table of features, selected by row numbers."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows: np.ndarray) -> pd.DataFrame:
        return self.table.iloc[rows]


def prepare(config: GbdtConfig, crystals: Crystals, key: str, cache: Path, n_jobs: int, word2vec: Path | None) -> TableInputs:
    """The feature table of all crystals, single precision: the groups of the config in one cache, CHGNet's in its own."""
    groups = tuple(name for name in config.features if name != "chgnet")
    tables = [_cached_table(groups, crystals, key, cache, n_jobs, word2vec)] if groups else []
    if "chgnet" in config.features:
        tables.append(potential_features(cached_potential(crystals, key, cache, n_jobs)).astype(np.float32))
    return TableInputs(pd.concat(tables, axis=1))


def _cached_table(
    groups: tuple[str, ...], crystals: Crystals, key: str, cache: Path, n_jobs: int, word2vec: Path | None
) -> pd.DataFrame:
    """The table of groups of composition features; cached by crystals, groups, code and libraries."""
    code = [Path(str(module.__file__)).read_bytes() for module in (composition, elements)]
    libraries = [version(name).encode() for name in ("matminer", "pymatgen-core", "ElementEmbeddings")]
    own_vectors = word2vec.read_bytes() if word2vec else b""
    parts = [key.encode(), own_vectors, json.dumps(groups).encode(), *code, *libraries]
    path = cache / f"features-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}.npz"
    if path.is_file():
        log.info("features: read from %s", path)
        with np.load(path, allow_pickle=False) as stored:
            return pd.DataFrame(stored["values"], columns=stored["columns"])
    start = time.perf_counter()
    table = composition_features(crystals.element_counts, groups, n_jobs, word2vec).astype(np.float32)
    write_atomic(path, lambda temporary: np.savez(temporary, values=table.to_numpy(), columns=np.array(table.columns, dtype=str)))
    log.info(
        "features: %d columns for %d crystals in %.1f s; written to %s",
        table.shape[1],
        len(table),
        time.perf_counter() - start,
        path,
    )
    return table


class GbdtLearner:
    """Gradient-boosted trees; the number of trees is fixed."""

    def __init__(self, config: GbdtConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.booster: lightgbm.Booster | None = None

    def fit(self, inputs: pd.DataFrame, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """inputs: (n_rows, n_features). target: (n_rows,), unitless."""
        c = self.config
        parameters = {
            "objective": c.objective, "metric": "l1", "learning_rate": c.learning_rate, "num_leaves": c.num_leaves,
            "min_child_samples": c.min_child_samples, "colsample_bytree": c.colsample_bytree, "subsample": c.subsample,
            "subsample_freq": 1, "reg_lambda": c.reg_lambda, "seed": self.seed, "deterministic": True, "force_row_wise": True,
            "num_threads": 1, "verbose": -1,
        }  # fmt: skip
        x, columns = inputs.to_numpy(), [f"f{i}" for i in range(inputs.shape[1])]  # LightGBM takes no brackets in names
        data = lightgbm.Dataset(x, target, feature_name=columns)
        valid = [lightgbm.Dataset(watched.inputs.to_numpy(), watched.target, reference=data)] if watched else []
        with (folder / "history.csv").open("w", newline="") as file:
            history = csv.writer(file)
            history.writerow(["tree", "valid_mae"])

            def record(state: lightgbm.callback.CallbackEnv) -> None:
                done = state.iteration + 1
                if done % EVERY == 0 or done == c.n_trees:
                    history.writerow([done, *(result[2] for result in state.evaluation_result_list)])
                    file.flush()

            try:
                self.booster = lightgbm.train(parameters, data, c.n_trees, valid_sets=valid, callbacks=[record])
            except lightgbm.basic.LightGBMError as error:
                raise ValueError(f"LightGBM refuses {c}: {error}") from error

    def predict(self, inputs: pd.DataFrame) -> Values:
        if self.booster is None:
            raise ValueError("predict: the learner is not fitted")
        return np.asarray(self.booster.predict(inputs.to_numpy()))

    def save(self, folder: Path) -> None:
        if self.booster is None:
            raise ValueError("save: the learner is not fitted")
        text = self.booster.model_to_string()
        write_atomic(folder / "model.txt", lambda temporary: temporary.write_text(text))
        write_json(folder / "learner.json", {"config": to_dict(self.config), "seed": self.seed})

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings = json.loads((folder / "learner.json").read_text())
        config = from_dict(settings["config"])
        if not isinstance(config, GbdtConfig):
            raise ValueError(f"{folder / 'learner.json'}: not the settings of a LightGBM learner")
        learner = cls(config, settings["seed"])
        learner.booster = lightgbm.Booster(model_file=str(folder / "model.txt"))
        return learner

    @property
    def n_parameters(self) -> int:
        if self.booster is None:
            return 0
        return sum(tree["num_leaves"] for tree in self.booster.dump_model()["tree_info"])
