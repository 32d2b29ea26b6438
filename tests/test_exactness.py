"""The reduction by symmetry is exact over the embedded data set, with trained weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.crystal import Crystal
from src.data.load import load_task_data
from src.data.target import TargetNormalizer
from src.graphs.batch import batch_from_graphs
from src.graphs.dataset import build_store
from src.graphs.graph import build_graph
from src.learners.gnn import GnnLearner, GraphInputs
from src.paths import DEFAULT_TASK, EXPERIMENTS
from src.runs.train import load_config


@pytest.mark.slow
def test_reduced_and_full_graphs_agree_over_the_data_set_with_trained_weights(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    config = load_config(EXPERIMENTS / "exp000")
    data = load_task_data(DEFAULT_TASK, tmp_path, skip_bad_rows=False, n_jobs=2)
    counts = data.train.crystals.element_counts
    normalizer = TargetNormalizer.fit(counts, data.train.targets, config.target)
    store = build_store(data.train.crystals, config.learner.graph, n_jobs=2)
    learner = GnnLearner(config.learner, seed=0)
    learner.fit(GraphInputs(store, np.arange(len(store))), normalizer.normalize(counts, data.train.targets), tmp_path)
    crystals = [table.crystals[i] for table in (data.train, data.test) for i in range(len(table.crystals))]
    reduced, full = (predict_double(learner, crystals, symmetry) for symmetry in (True, False))
    difference = normalizer.scale * np.abs(reduced - full)  # eV/atom
    quantiles = np.quantile(difference, [0.5, 0.99, 1.0])
    print("median, 99th percentile, maximum (eV/atom):", quantiles)
    assert len(difference) == 3938
    assert (quantiles <= [1e-7, 2e-5, 1e-3]).all()


@torch.no_grad()
def predict_double(learner: GnnLearner, crystals: list[Crystal], symmetry: bool) -> np.ndarray:
    """Return unitless predictions (n_crystals,), computed in double precision."""
    config = learner.config.graph
    model = learner.model.double()
    parts = []
    for i in range(0, len(crystals), 64):
        parts.append(model(batch_from_graphs([build_graph(crystal, config, symmetry) for crystal in crystals[i : i + 64]])))
    return torch.cat(parts).numpy()
