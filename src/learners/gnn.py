"""Networks on graphs of crystals. Only `fit` imports the training code, so that predictions start faster."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from src.config import GnnConfig
from src.data.table import Crystals
from src.features.columns import COLUMNS, ColumnEncoder, further_columns
from src.features.elements import element_vectors
from src.graphs.batch import GraphBatch, batch_from_store
from src.graphs.dataset import cached_graphs
from src.learners.evaluation import predict_each, read_by_head
from src.learners.learner import (
    MEMBER_SEEDS,
    SETTINGS,
    Learner,
    Values,
    Watched,
    check_sha256,
    fitted,
    loading,
    read_encoder,
    write_learner,
)
from src.models.blocks import statistics_of
from src.models.members import holder, make_members, make_network, separate, together
from src.storage.names import CHECKPOINT, HISTORY, SHARED, WEIGHTS
from src.storage.ragged import RaggedStore

PRETRAINING = "pretraining"  # folder of that stage in the folder of a fold
EDGES_AT_ONCE = 4096  # crystals whose edges are read at once


@dataclass(frozen=True, eq=False)
class GraphInputs:
    """Graphs of a store, selected by row numbers; nothing is read until a batch is made.

    global_features: (len(store), n_features).
    columns: (len(store), n_columns), further columns that a learner encodes.
    """

    store: RaggedStore
    crystals: NDArray[np.integer]
    global_features: NDArray[np.float32] | None = None
    columns: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.crystals)

    def __getitem__(self, rows: NDArray[np.integer]) -> "GraphInputs":
        return replace(self, crystals=self.crystals[rows])

    def batch(self, rows: NDArray[np.integer], device: str) -> GraphBatch:
        """Return the batch of these rows, with the features of crystals, on a device."""
        chosen = self[rows]
        batch = batch_from_store(self.store, chosen.crystals)
        batch.global_features = chosen.own_features
        return batch.to(device)

    @property
    def avg_n_neighbors(self) -> float:
        """Mean number of neighbours over all atoms of these crystals; 1 if no atom has any."""
        n_orbits, n_sites = (self.store.counts(level, self.crystals) for level in ("orbit", "atom"))
        weight = self.store.arrays["orbit_weight"][self.store.rows("orbit", self.crystals)]
        occupancy = self.store.arrays["atom_occupancy"][self.store.rows("atom", self.crystals)]
        n_atoms = np.bincount(np.repeat(np.arange(len(self)), n_sites), occupancy)
        parts = np.array_split(self.crystals, -(-len(self) // EDGES_AT_ONCE))
        neighbors = np.concatenate([self._n_neighbors(part) for part in parts])
        return float((neighbors * weight * np.repeat(n_atoms, n_orbits)).sum() / n_atoms.sum()) or 1.0

    def _n_neighbors(self, crystals: NDArray[np.integer]) -> NDArray:
        """Return the number of edges into the representative of each orbit of these crystals, (n_orbits,)."""
        rows, n_orbits = self.store.rows("edge", crystals), self.store.counts("orbit", crystals)
        start = np.repeat(np.cumsum(n_orbits) - n_orbits, self.store.counts("edge", crystals))
        destination = self.store.arrays["edge_dst_index"][rows] + start
        return np.bincount(destination, self.store.arrays["edge_multiplicity"][rows], minlength=n_orbits.sum())

    @property
    def own_features(self) -> Tensor | None:
        """The global features of these crystals, (n_crystals, n_features); None if they have none."""
        return None if self.global_features is None else torch.from_numpy(self.global_features[self.crystals])

    def fit_encoder(self) -> ColumnEncoder | None:
        """Return the encoder that the further columns of these crystals give; None if they have none."""
        return None if self.columns is None else ColumnEncoder.fit(self.columns.iloc[self.crystals])

    def encoded(self, encoder: ColumnEncoder | None) -> "GraphInputs":
        """Return the same graphs, whose global features end with the encoded columns, if any of them varied in training."""
        if encoder is None or self.columns is None:
            return self
        own, values = self.global_features, encoder.scaled(self.columns)
        if values.shape[1]:
            own = values if own is None else np.concatenate([own, values], axis=1)
        return replace(self, global_features=own, columns=None)


class GnnLearner(Learner[GnnConfig]):
    """One network and its training, or several members in one."""

    model: torch.nn.Module | None = None
    avg_n_neighbors = float("nan")

    def prepare_inputs(self, crystals: Crystals, key: str, cache: Path | None, n_jobs: int) -> GraphInputs:
        """Return the graphs, and features of crystals if the network takes them."""
        c, word2vec = self.config, self.word2vec
        if self.model is None:  # a saved network has its own; here, where the log is seen: folds may run in other processes
            element_vectors(c.elements, word2vec)
        store = cached_graphs(crystals, key, None if c.network.reads_formula else c.graph, cache, n_jobs)
        of_crystals = None
        if computed := tuple(group for group in c.global_features if group != COLUMNS):
            from src.features.groups import finite_features  # takes half a second to import

            of_crystals = finite_features(crystals, key, computed, cache, n_jobs, word2vec)
        columns = further_columns(crystals) if COLUMNS in c.global_features else None
        return GraphInputs(store, np.arange(len(store)), of_crystals, columns)

    def histories(self) -> dict[str, int]:
        pretraining = self.config.pretraining
        first = {f"{stage}/{HISTORY}": pretraining.n_epochs for stage in self._pretraining_folders} if pretraining else {}
        return {**first, HISTORY: self.config.training.n_epochs}

    @property
    def _pretraining_folders(self) -> list[str]:
        """The folder of each member's pre-training, below that of the fold."""
        n = self.config.members
        return [PRETRAINING] if n == 1 else [f"{PRETRAINING}/member_{i}" for i in range(n)]

    @property
    def gpu(self) -> str | None:
        return torch.cuda.get_device_name(self.device) if self.device.startswith("cuda") else None

    def limit_threads(self) -> None:
        if self.device == "cpu":
            torch.set_num_threads(1)

    def fit(self, inputs: GraphInputs, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """Train all epochs, after the pre-training if there is one; a checkpoint is written after each."""
        from src.learners.device import keep_freed_memory, keep_products_whole
        from src.learners.pretraining import pretrain
        from src.learners.training import Training

        keep_freed_memory()
        keep_products_whole()
        torch.manual_seed(self.seed)
        vectors = torch.tensor(element_vectors(self.config.elements, self.word2vec), dtype=torch.float32)
        self.avg_n_neighbors = inputs.avg_n_neighbors
        self.encoder = inputs.fit_encoder()
        inputs = inputs.encoded(self.encoder)
        watched = watched and watched._replace(inputs=watched.inputs.encoded(self.encoder))
        c = self.config
        model = self._make_model(vectors, statistics_of(inputs.own_features)).to(self.device)

        def watch(averaged: torch.nn.Module) -> float:
            if watched is None:
                return float("nan")
            error = watched.error(self._predict(averaged, watched.inputs), c.of_classes)
            watched.report(error)
            return error

        targets = torch.tensor(target, dtype=torch.float32)
        make_batch = partial(inputs.batch, device="cpu")  # the training moves it
        if c.pretraining and not (folder / CHECKPOINT).is_file():  # otherwise training itself has begun
            networks = separate(model)  # one by one: torch.vmap has no second derivatives
            for network, stage in zip(networks, self._pretraining_folders, strict=True):
                pretrain(network, c.pretraining, c.training, self.seed, make_batch, targets, folder / stage, watch)
            model = together(networks)
        training = Training(model, c.training, self.seed, len(inputs))
        training.run(make_batch, targets, folder, watch)
        self.model = copy.deepcopy(training.averaged)  # aligned as if loaded: views of a buffer give other last digits

    def _make_model(self, vectors: Tensor, statistics: Tensor | None) -> torch.nn.Module:
        """Return the untrained networks of all members as one model, each from a seed of its own."""
        c, seeds = self.config, [self.seed + MEMBER_SEEDS * i for i in range(self.config.members)]
        return make_members(lambda: make_network(c.network, c.graph, vectors, self.avg_n_neighbors, statistics), seeds)

    def predict(self, inputs: GraphInputs) -> Values:
        return self.predict_members(inputs).mean(axis=0)

    def predict_members(self, inputs: GraphInputs) -> Values:
        return self._predict(fitted(self.model), inputs.encoded(self.encoder))

    @classmethod
    def predict_each(cls, learners: Sequence[Self], inputs: GraphInputs) -> Values:
        """Return the predictions of each learner's networks; each batch is made once for all of them.

        With further columns, batches are made for each: every network was trained with its own encoding.
        """
        if learners[0].encoder is not None:
            return super().predict_each(learners, inputs)
        models, device = [fitted(learner.model) for learner in learners], learners[0].device
        return predict_each(models, partial(inputs.batch, device=device), len(inputs))

    def features(self, inputs: GraphInputs) -> NDArray[np.float32]:
        """Return the vectors that the heads of all members read, (n_rows, n_features); those of atoms are averaged."""
        inputs = inputs.encoded(self.encoder)
        networks, make_batch = separate(fitted(self.model)), partial(inputs.batch, device=self.device)
        return np.concatenate([read_by_head(network, make_batch, len(inputs)) for network in networks], axis=1)

    def _predict(self, model: torch.nn.Module, inputs: GraphInputs) -> Values:
        return predict_each([model], partial(inputs.batch, device=self.device), len(inputs))[0]

    def save(self, folder: Path) -> None:
        weights = {name: tensor.cpu().clone() for name, tensor in holder(fitted(self.model)).state_dict().items()}
        settings = {"seed": self.seed, "avg_n_neighbors": self.avg_n_neighbors}
        write_learner(folder, self.config, (WEIGHTS, save(weights)), self.encoder, **settings)

    def restore(self, folder: Path, settings: dict[str, Any]) -> None:
        with loading(folder / SETTINGS):
            self.avg_n_neighbors = float(settings["avg_n_neighbors"])
        self.encoder = read_encoder(folder, self.config.global_features, settings)
        check_sha256(folder / WEIGHTS, settings.get("sha256"))
        with loading(folder / WEIGHTS):
            weights = load_file(folder / WEIGHTS)
            if "shared_sha256" in settings:  # published models have one file for what all folds have in common
                check_sha256(folder.parent / SHARED, settings["shared_sha256"])
                weights |= load_file(folder.parent / SHARED)
            model = self._make_model(weights["element_vectors"], weights.get("global_features.statistics"))
            holder(model).load_state_dict(weights)
        self.model = model.to(self.device)

    @property
    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in fitted(self.model).parameters())
