"""Laws of predictions with trained networks."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import CRYSTALS, make_batch
from numpy.typing import NDArray
from torch.nn.utils import parameters_to_vector

from src.config import GraphConfig, NequipConfig
from src.graphs.batch import GraphBatch
from src.learners import evaluation
from src.learners.evaluation import predict_each, read_by_head
from src.models import fused
from src.models.nequip import Nequip

GRAPH = {"r_max": 4.0, "l_max": 2}
CONFIG = NequipConfig(n_channels=16, n_layers=2, radial_hidden=(8,), head_hidden=(4,), radial_knots=32)
EVERY = list(CRYSTALS.values())


def make_network(seed: int) -> Nequip:
    torch.manual_seed(seed)
    return Nequip(CONFIG, GraphConfig(**GRAPH), torch.randn(119, 6), 20.0)


def batch_of(rows: NDArray[np.integer]) -> GraphBatch:
    return make_batch([EVERY[row % len(EVERY)] for row in rows], **GRAPH).to("cpu", torch.float32)


@pytest.mark.parametrize("n_threads", [1, 4])
def test_several_networks_at_once_predict_what_each_predicts_alone(n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: n_threads)
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 5)
    monkeypatch.setattr(evaluation, "FEW", 0)
    networks, n_rows, made, n_at_work = [make_network(seed) for seed in range(6)], 12, [], set()

    def make(rows: NDArray[np.integer]) -> GraphBatch:
        made.append(rows.tolist())
        return batch_of(rows)

    networks[0].register_forward_hook(lambda *_: n_at_work.add(torch.get_num_threads()))
    together = predict_each(networks, make, n_rows)
    assert n_at_work == {1}  # of each network
    assert made == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    np.testing.assert_array_equal(together, [predict_each([network], batch_of, n_rows)[0] for network in networks])


def test_a_few_crystals_are_predicted_alike_without_the_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [make_network(seed) for seed in range(3)]
    weights = [parameters_to_vector(network.parameters()) for network in networks]
    compiled = [predict_each([network], batch_of, evaluation.FEW)[0] for network in networks]
    with monkeypatch.context() as patch:
        patch.delattr(fused, "make_edges")
        plain = predict_each(networks, batch_of, evaluation.FEW)
    np.testing.assert_allclose(plain, compiled, rtol=0, atol=1e-5)
    for before, network in zip(weights, networks, strict=True):
        torch.testing.assert_close(parameters_to_vector(network.parameters()), before, rtol=0, atol=0)  # in precision, too


@pytest.mark.parametrize(
    ("n_networks", "n_rows", "dtype", "sizes"),
    [
        (1, 3, torch.float32, [3]),
        (2, 32, torch.float64, [32]),
        (2, 33, torch.float32, [33]),
        (1, 257, torch.float32, [128, 128, 1]),
    ],
)
def test_only_a_few_rows_are_predicted_in_double_precision_by_several_networks_and_128_at_once(
    n_networks: int, n_rows: int, dtype: torch.dtype, sizes: list[int]
) -> None:
    networks, seen, made = [torch.nn.Linear(1, 1) for _ in range(n_networks)], set(), []

    def make(rows: NDArray[np.integer]) -> torch.Tensor:
        made.append(len(rows))
        return torch.zeros(len(rows))

    for network in networks:
        network.forward = lambda batch: seen.add(batch.dtype) or batch
    predict_each(networks, make, n_rows)
    assert seen == {dtype} and made == sizes


def test_a_linear_head_maps_what_it_reads_to_what_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean over atoms of its values is its value of their mean."""
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 5)
    torch.manual_seed(0)
    network = Nequip(replace(CONFIG, head_hidden=()), GraphConfig(**GRAPH), torch.randn(119, 6), 20.0)
    read = read_by_head(network, batch_of, len(EVERY))
    assert not network.head._forward_pre_hooks
    weight, bias = (p.detach().numpy() for p in network.head.parameters())
    expected = predict_each([network], batch_of, len(EVERY))[0, 0]
    np.testing.assert_allclose(read @ weight[0] + bias, expected, atol=1e-5)


def test_a_prediction_keeps_no_history_of_its_operations() -> None:
    network = make_network(0)
    assert not evaluation._evaluate(batch_of(np.arange(3)), network).requires_grad
