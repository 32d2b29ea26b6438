"""The radial network between knots is the exact one to single precision."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from conftest import CRYSTALS, make_batch

from src.config import GraphConfig, NequipConfig
from src.data.table import Crystals, read_table
from src.data.task import read_task
from src.learners.learner import load_learner
from src.learners.pretraining import energy_and_forces
from src.models.members import make_network
from src.models.radial import Knots, RadialValues, radial_basis
from src.paths import BEST, DEFAULT_TASK, EXPERIMENTS

R_MAX = 5.0
PUBLISHED = EXPERIMENTS / f"exp{BEST}/results/models/fold_0"
BASIS = partial(radial_basis, r_max=R_MAX, n_bessel=8)
LENGTHS = torch.linspace(0, R_MAX, 1001, dtype=torch.float64)


def at_lengths(function, n: int) -> torch.Tensor:
    knots = Knots(R_MAX, n).double()
    return RadialValues(function(knots.distance), *knots.locate(LENGTHS)).at_lengths()


def test_cubic_polynomials_are_reproduced() -> None:
    def cubic(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x**3 - 2 * x, x**2 + 1], dim=-1)

    torch.testing.assert_close(at_lengths(cubic, 16), cubic(LENGTHS), rtol=0, atol=1e-11)


def test_the_error_falls_with_the_fourth_power_of_the_spacing() -> None:
    errors = [float((at_lengths(BASIS, n) - BASIS(LENGTHS)).abs().max()) for n in (32, 64, 128)]
    assert 12 < errors[0] / errors[1] < 20 and 12 < errors[1] / errors[2] < 20


def test_the_value_at_the_cutoff_is_zero() -> None:
    assert at_lengths(BASIS, 64)[-1].abs().max() == 0


def published(n_knots: int, crystals: Crystals, inputs) -> tuple[np.ndarray, np.ndarray]:
    """Return the predictions of a published network, exactly and between knots, unitless."""
    learner, predictions = load_learner(PUBLISHED), []
    weights = learner.model.state_dict()
    for n in (0, n_knots):
        config = replace(learner.config.network, radial_knots=n)
        learner.model = make_network(config, learner.config.graph, learner.model.element_vectors, learner.avg_n_neighbors)
        learner.model.load_state_dict(weights)
        predictions.append(learner.predict(inputs))
    return predictions[0], predictions[1]


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs the published models")
@pytest.mark.parametrize(("n_knots", "median", "most"), [(128, 3e-6, 5e-5), (256, 1e-6, 1e-5)])
def test_a_trained_network_predicts_the_same_between_knots(tmp_path, n_knots: int, median: float, most: float) -> None:
    task = read_task(DEFAULT_TASK)
    crystals = read_table(task.path("test"), task, has_target=False).crystals
    chosen = Crystals.from_list([crystals[i] for i in range(0, len(crystals), 10)])
    inputs = load_learner(PUBLISHED).prepare_inputs(chosen, "knots", tmp_path, 1)
    difference = np.abs(np.subtract(*published(n_knots, chosen, inputs)))
    assert 0 < np.median(difference) < median and difference.max() < most


def test_lengths_beyond_the_cutoff_have_a_basis_of_zero_as_without_knots() -> None:
    knots = Knots(R_MAX, 64).double()
    length = torch.tensor([1.0, 1.001, 1.02, 1.1], dtype=torch.float64) * R_MAX
    found = RadialValues(BASIS(knots.distance), *knots.locate(length)).at_lengths()
    torch.testing.assert_close(found, BASIS(length), rtol=0, atol=1e-12)


def test_derivatives_are_those_of_the_exact_network() -> None:
    found = []
    for n_knots in (0, 8):
        torch.manual_seed(0)
        config = NequipConfig(n_channels=6, radial_hidden=(12,), radial_knots=n_knots)
        model = make_network(config, GraphConfig(r_max=4.5), torch.randn(119, 6), 20.0).double()
        found.append(energy_and_forces(model, make_batch(list(CRYSTALS.values()), r_max=4.5)))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


def test_knots_are_no_part_of_the_saved_weights() -> None:
    torch.manual_seed(0)
    names = [
        set(make_network(NequipConfig(radial_knots=n), GraphConfig(), torch.randn(119, 6), 20.0).state_dict()) for n in (0, 64)
    ]
    assert names[0] == names[1]
