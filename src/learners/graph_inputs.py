"""Graphs of a table's crystals, with further features, as inputs of networks."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.features.columns import ColumnEncoder
from src.graphs.batch import GraphBatch, batch_from_store
from src.models.blocks import statistics_of
from src.storage.ragged import RaggedStore

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
        return batch if device == "cpu" else batch.to(device)

    @property
    def avg_n_neighbors(self) -> float:
        """Mean number of neighbours over all atoms of these crystals; 1 if no atom has any."""
        n_orbits, n_atoms = (self.store.counts(level, self.crystals) for level in ("orbit", "atom"))
        weight = self.store.arrays["orbit_weight"][self.store.rows("orbit", self.crystals)]
        parts = np.array_split(self.crystals, -(-len(self) // EDGES_AT_ONCE))
        neighbors = np.concatenate([self._n_neighbors(part) for part in parts])
        total = float((neighbors * weight * np.repeat(n_atoms, n_orbits)).sum() / n_atoms.sum())
        return total or 1.0

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

    @property
    def statistics(self) -> Tensor | None:
        """Mean and spread of the global features over these crystals, (2, n_features); None if they have none."""
        return None if self.own_features is None else statistics_of(self.own_features)
