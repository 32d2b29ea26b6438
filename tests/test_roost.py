"""Laws of the graph of a formula, and of the network on it."""

import numpy as np
import pytest
import torch
from conftest import CRYSTALS
from pymatgen.core import Element
from torch import Tensor

from src.config import GnnConfig, GraphConfig, RoostConfig, TrainingConfig
from src.data.crystal import Crystal
from src.data.table import Crystals
from src.graphs.batch import batch_from_graphs, pad, padded_sizes
from src.graphs.graph import formula_graph
from src.learners.gnn import GnnLearner
from src.learners.learner import load_learner
from src.models.roost import Roost

CONFIG = RoostConfig(n_channels=6, n_layers=2, n_hidden=5)
FORMULAS = ("Fe2O3", "SrTiO3", "He", "LiFePO4", "FeO")


@pytest.fixture
def model() -> Roost:
    """A network whose powers of the shares are not one."""
    torch.manual_seed(0)
    network = Roost(CONFIG, GraphConfig(), torch.randn(119, 4), 1.0).double()
    for layer in [*network.layers, network.pooling]:
        torch.nn.init.uniform_(layer.power, 0.5, 1.5)
    return network


def outputs(model: Roost, *crystals: Crystal) -> Tensor:
    return model(batch_from_graphs([formula_graph(crystal) for crystal in crystals])).detach()


def test_the_graph_has_each_element_beside_every_other() -> None:
    graph = formula_graph(Crystal.from_formula("SrTiO3"))
    assert graph.orbit_z.tolist() == [8, 22, 38] and graph.orbit_weight.tolist() == [0.6, 0.2, 0.2]
    assert list(zip(graph.edge_dst_index, graph.edge_src_index, strict=True)) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    alone = formula_graph(Crystal.from_formula("He"))
    assert (alone.edge_dst_index.tolist(), alone.edge_src_index.tolist()) == ([0], [0])


def test_it_draws_and_uses_its_weights_as_when_it_was_published(model: Roost) -> None:
    published = [0.35296369, 0.345882175, 0.350129705, 0.355810465, 0.353440094]
    np.testing.assert_allclose(outputs(model, *map(Crystal.from_formula, FORMULAS)), published, rtol=1e-6)


def test_only_the_proportion_of_the_elements_counts(model: Roost) -> None:
    same = [Crystal.from_formula(text) for text in ("SrTiO3", "O6Ti2Sr2")]
    energies = outputs(model, CRYSTALS["perovskite"], *same)
    torch.testing.assert_close(energies, energies[:1].expand(3), rtol=0, atol=1e-12)
    assert abs(float(outputs(model, Crystal.from_formula("Sr2TiO4"))) - float(energies[0])) > 1e-4


def test_batch_mates_and_padding_change_nothing(model: Roost) -> None:
    crystals = [Crystal.from_formula(text) for text in FORMULAS]
    alone = torch.cat([outputs(model, crystal) for crystal in crystals])
    batch = batch_from_graphs([formula_graph(crystal) for crystal in crystals])
    assert alone.std() > 1e-3
    torch.testing.assert_close(model(batch).detach(), alone, rtol=0, atol=1e-12)
    padded = model(pad(batch, padded_sizes(batch, {})))
    assert torch.isfinite(padded).all()
    torch.testing.assert_close(padded[:-1].detach(), alone, rtol=0, atol=1e-12)


def attention(layer: torch.nn.Module, members: list[Tensor], weights: list[float]) -> Tensor:
    """Eqs. 3 to 5 of the paper, in loops."""
    heads, n_hidden = [], layer.score_weight.shape[1]
    first = list(zip(layer.hidden_weight.split(n_hidden), layer.hidden_bias.split(n_hidden), strict=True))
    last = layer.message_weight.split(n_hidden, dim=1)
    for i, power in enumerate(layer.power):

        def hidden(x: Tensor, k: int) -> Tensor:
            return torch.nn.functional.leaky_relu(first[k][0] @ x + first[k][1])

        scores = [layer.score_weight[i] @ hidden(x, i) + layer.score_bias[i] for x in members]
        messages = [last[i] @ hidden(x, 3 + i) + layer.message_bias[i] for x in members]
        exponential = [w**power * score.exp() for score, w in zip(scores, weights, strict=True)]
        heads.append(sum(e / sum(exponential) * message for e, message in zip(exponential, messages, strict=True)))
    return torch.stack(heads).mean(dim=0)


def test_the_network_is_the_one_of_the_paper(model: Roost) -> None:
    symbols, weights = ["Li", "O", "P", "Fe"], [1 / 7, 4 / 7, 1 / 7, 1 / 7]
    vectors = model.element_vectors[[Element(symbol).Z for symbol in symbols]]
    h = [torch.cat([model.embedding(x), x.new_tensor([w])]) for x, w in zip(vectors, weights, strict=True)]
    for layer in model.layers:
        others = [[j for j in range(4) if j != i] for i in range(4)]
        h = [
            h[i] + attention(layer, [torch.cat([h[i], h[j]]) for j in own], [weights[j] for j in own])
            for i, own in enumerate(others)
        ]
    wanted = model.head(attention(model.pooling, h, weights))
    torch.testing.assert_close(outputs(model, Crystal.from_formula("LiFePO4")), wanted.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("members", [1, 3])
def test_it_learns_formulas_and_is_saved_and_loaded(members: int, tmp_path) -> None:
    network = RoostConfig(n_channels=8, n_layers=2, n_hidden=16)
    training = TrainingConfig(n_epochs=50, batch_size=5, lr=1e-2, ema_decay=0.8)
    config = GnnConfig(training=training, network=network, members=members)
    learner, target = GnnLearner(config, seed=3), np.random.default_rng(0).normal(size=len(FORMULAS))
    inputs = learner.prepare_inputs(Crystals.from_list([Crystal.from_formula(text) for text in FORMULAS]), "test", tmp_path, 1)
    learner.fit(inputs, target, tmp_path)
    assert np.abs(learner.predict(inputs) - target).mean() < 0.7 * np.abs(target - np.median(target)).mean()
    learner.save(tmp_path)
    np.testing.assert_array_equal(load_learner(tmp_path).predict(inputs), learner.predict(inputs))
    assert learner.features(inputs).shape == (len(FORMULAS), members * network.n_channels)


def test_settings_of_structures_are_refused() -> None:
    with pytest.raises(ValueError, match="graph: Roost reads formulas"):
        GnnConfig(training=TrainingConfig(n_epochs=1), graph=GraphConfig(r_max=4.0), network=CONFIG)
