"""Config -> learner, its inputs, its progress."""

from pathlib import Path

import numpy as np

from src.config import GbdtConfig, GbdtEnsembleConfig, GnnConfig, LearnerConfig, SvrConfig
from src.data.table import Crystals
from src.learners.learner import Inputs, Learner


def make_learner(config: LearnerConfig, seed: int, device: str, word2vec: Path | None) -> Learner:
    """An untrained learner. word2vec: a gensim file to take mat2vec from; None: the packaged table."""
    if isinstance(config, GbdtConfig):
        from src.learners.gbdt import GbdtLearner

        return GbdtLearner(config, seed)
    if isinstance(config, GbdtEnsembleConfig):
        from src.learners.gbdt_mean import GbdtEnsembleLearner

        return GbdtEnsembleLearner(config, seed)
    if isinstance(config, SvrConfig):
        from src.learners.svr import SvrLearner

        return SvrLearner(config)
    from src.learners.gnn import GnnLearner

    return GnnLearner(config, seed, device, word2vec)


def prepare_inputs(
    config: LearnerConfig, crystals: Crystals, key: str, cache: Path, n_jobs: int, word2vec: Path | None
) -> Inputs:
    """The learner's inputs for all crystals of a table, from the cache where they are there already.

    key: identifies the crystals. cache: folder of stores. word2vec: as in `make_learner`.
    """
    if not isinstance(config, GnnConfig):
        from src.features.tables import cached_features, finite_features
        from src.learners.gbdt import TableInputs

        if isinstance(config, SvrConfig):
            finite_features(crystals, key, config.features, cache, n_jobs, word2vec)  # trees take undefined values, it does not
        members = config.members if isinstance(config, GbdtEnsembleConfig) else (config,)
        groups = dict.fromkeys(group for member in members for group in member.features)
        return TableInputs({g: cached_features(crystals, key, (g,), cache, n_jobs, word2vec) for g in groups})
    from src.features.chgnet import cached_potential
    from src.features.elements import element_vectors
    from src.features.tables import finite_features
    from src.graphs.dataset import cached_graphs
    from src.learners.gnn import GraphInputs

    element_vectors(config.elements, word2vec)  # here, where its log is seen: folds may run in other processes
    store = cached_graphs(crystals, key, config.graph, cache, n_jobs)
    wanted = config.global_features
    of_crystals = finite_features(crystals, key, wanted, cache, n_jobs, word2vec) if wanted else None
    of_atoms = cached_potential(crystals, key, cache, n_jobs) if config.atom_features == "chgnet" else None
    return GraphInputs(store, np.arange(len(store)), of_crystals, of_atoms)


def histories(config: LearnerConfig) -> dict[str, int]:
    """Files in the folder of a fold that grow while it trains, and the lines below the header that each ends with."""
    if isinstance(config, GbdtConfig):
        from src.learners.gbdt import EVERY

        return {"history.csv": -(-config.n_trees // EVERY)}
    if isinstance(config, GbdtEnsembleConfig):
        return {"history.csv": len(config.members) + (config.outlier_fraction > 0)}
    if isinstance(config, SvrConfig):
        return {"history.csv": 1}
    first = {"pretraining/history.csv": config.pretraining.n_epochs} if config.pretraining else {}
    return {**first, "history.csv": config.training.n_epochs}
