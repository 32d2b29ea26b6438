"""Laws of the networks, in double precision. Tests that take `model` hold for every architecture."""

from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from conftest import CRYSTALS, make_batch, random_rotation
from pymatgen.core import Lattice, Structure
from torch import Tensor
from torch_geometric.nn.models import SchNet

from src.config import (
    AlignnConfig,
    CgcnnConfig,
    EgnnConfig,
    GraphConfig,
    MegnetConfig,
    NequipConfig,
    NetworkConfig,
    SchnetConfig,
)
from src.config.knobs import ReadoutName
from src.data.crystal import Crystal
from src.graphs import graph
from src.graphs.symmetry import find_symmetry
from src.models.blocks import Readout, Standardise, orbit_edges
from src.models.cgcnn import WeightedCGConv
from src.models.egnn import Egnn
from src.models.members import make_network
from src.models.nequip import EquivariantLinear, Nequip, edge_harmonics
from src.models.radial import bessel_basis, polynomial_cutoff
from src.models.schnet import Schnet

TIGHT = {"rtol": 0, "atol": 1e-9}
GRAPH = {"r_max": 4.5, "l_max": 2, "r_angle": 3.3}
RIVALS = {
    "cgcnn": CgcnnConfig(n_channels=8, n_layers=2),
    "schnet": SchnetConfig(n_channels=8, n_layers=3),
    "megnet": MegnetConfig(n_channels=6, n_layers=2),
    "alignn": AlignnConfig(n_channels=8, n_gcn_layers=1),
}


def make_model(l_max: int = 2, n_element_attributes: int = 3, r_max: float = 4.5, **options: int) -> Nequip:
    torch.manual_seed(0)
    vectors = torch.randn(119, 6)
    settings = {"n_channels": 6, "n_element_attributes": n_element_attributes, **options}
    config = NequipConfig(**settings, radial_hidden=(12,), head_hidden=(5,))
    return Nequip(config, GraphConfig(r_max=r_max, l_max=l_max), vectors, 20.0).double()


def make_egnn() -> Egnn:
    torch.manual_seed(0)
    model = Egnn(EgnnConfig(n_channels=8, n_layers=3), GraphConfig(r_max=4.5, l_max=2), torch.randn(119, 6), 20.0).double()
    for layer in model.layers:
        torch.nn.init.normal_(layer.move[-1].weight, std=100.0)  # so that displacements matter
    return model


def make_rival(config: NetworkConfig, **graph: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return make_network(config, GraphConfig(**{**GRAPH, **graph}), torch.randn(119, 6), 20.0).double()


def make_named(name: str) -> torch.nn.Module:
    if name in RIVALS:
        return make_rival(RIVALS[name])
    return make_model() if name == "nequip" else make_egnn()


@pytest.fixture(params=["nequip", "egnn", *RIVALS])
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    return make_named(request.param)


def energies(model: torch.nn.Module, *crystals: Crystal, symmetry: bool = True, **graph: object) -> Tensor:
    return model(make_batch(list(crystals), symmetry, **{**GRAPH, **graph})).detach()


def moved(crystal: Crystal, rotation: np.ndarray) -> Crystal:
    return Crystal(crystal.lattice @ rotation.T, crystal.frac_coords, crystal.atomic_numbers)


PUBLISHED = {  # energies of rock salt, quartz and the triclinic crystal at commit ee52649, with weights drawn by seed 0
    "nequip": (0.49175524, 1.18487737, 3.35853916),
    "egnn": (-0.0107653313, 0.0532037416, -0.0155813056),
    "cgcnn": (-0.434321546, -0.273197616, -0.477942307),
    "schnet": (-0.27263859, -0.296287922, -0.230025448),
    "megnet": (-0.219357462, -0.223096638, -0.254407876),
    "alignn": (0.671207896, 0.908330096, 0.73466865),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_draws_and_uses_its_weights_as_when_it_was_published(name: str) -> None:
    found = energies(make_named(name), *(CRYSTALS[crystal] for crystal in ("rock salt", "quartz", "triclinic")))
    np.testing.assert_allclose(found, PUBLISHED[name], rtol=1e-6)


def test_a_network_makes_everything_on_the_device_of_its_batch(model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch would take indices from the CPU, and a GPU would wait for them."""
    arange, made = torch.arange, list[Tensor]()
    monkeypatch.setattr(torch, "arange", lambda *known, **named: made.append(arange(*known, **named)) or made[-1])
    batch = make_batch(list(CRYSTALS.values())[:3], **GRAPH).to("meta")  # where tensors have no values, but a device
    for needs_gradient in (False, True):
        batch.edge_vec.requires_grad_(needs_gradient)
        assert {one.device.type for one in (model.to("meta")(batch), *made)} == {"meta"}


def check_same(model: torch.nn.Module, others: list[Crystal], atol: float = 1e-7, reduced: tuple[bool, ...] = (True,)) -> None:
    """Check that other descriptions of the crystals have the energies of CRYSTALS."""
    for symmetry in reduced:
        found, expected = (energies(model, *crystals, symmetry=symmetry) for crystals in (others, CRYSTALS.values()))
        torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("rotation", [random_rotation(5), -random_rotation(6)], ids=["rotation", "rotation and inversion"])
def test_rotation_and_reflection_change_nothing(model: torch.nn.Module, rotation: np.ndarray) -> None:
    check_same(model, [moved(crystal, rotation) for crystal in CRYSTALS.values()], reduced=(True, False))


READOUTS = get_args(ReadoutName)
SMALL = NequipConfig(n_channels=6, radial_hidden=(12,))


def make_scored(readout: ReadoutName) -> torch.nn.Module:
    """Return a small network whose atoms differ in score, as after training."""
    model = make_rival(replace(SMALL, readout=readout))
    if readout == "attention":
        torch.nn.init.normal_(model.readout.score.weight)
    return model


@pytest.mark.parametrize("readout", READOUTS)
def test_a_supercell_has_the_value_of_its_primitive_cell_or_as_many_times_it_as_a_sum(readout: ReadoutName) -> None:
    model, crystal = make_scored(readout), CRYSTALS["perovskite"]
    supercell = Crystal.from_structure(crystal.to_structure() * (2, 1, 1))
    n = 2 if readout == "sum" else 1
    torch.testing.assert_close(energies(model, supercell), n * energies(model, crystal), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", READOUTS)
def test_a_readout_is_its_formula_over_the_atoms_of_a_crystal(name: ReadoutName) -> None:
    batch, rng = make_batch(list(CRYSTALS.values())), np.random.default_rng(0)
    values, features, direction = rng.normal(-9, 1, (batch.n_orbits, 2)), rng.normal(size=(batch.n_orbits, 3)), rng.normal(size=3)
    readout = Readout(name, 3).double()
    if readout.score is not None:
        readout.score.weight.data[0] = torch.from_numpy(direction)
    found = readout(torch.from_numpy(values), torch.from_numpy(features), batch).detach().numpy()
    orbit_of_atom = batch.atom_orbit_index.numpy()
    for i, one in enumerate(found):
        atoms = orbit_of_atom[batch.orbit_batch.numpy()[orbit_of_atom] == i]
        of_atoms, share = values[atoms], np.exp(features[atoms] @ direction)
        formulas = {"mean": of_atoms.mean(axis=0), "sum": of_atoms.sum(axis=0), "max": of_atoms.max(axis=0)}
        np.testing.assert_allclose(one, formulas.get(name, share @ of_atoms / share.sum()), rtol=1e-6)


def test_readouts_differ_and_attention_begins_as_the_mean() -> None:
    values = {round(float(energies(make_scored(readout), CRYSTALS["perovskite"])), 6) for readout in READOUTS}
    assert len(values) == len(READOUTS)
    mean, attention = (make_rival(replace(SMALL, readout=readout)) for readout in ("mean", "attention"))
    attention.load_state_dict(mean.state_dict(), strict=False)
    torch.testing.assert_close(energies(attention, *CRYSTALS.values()), energies(mean, *CRYSTALS.values()))


@pytest.mark.parametrize("n_element_attributes", [0, 3])
@pytest.mark.parametrize("l_max", [0, 1, 2, 3])
def test_the_reduced_graph_gives_the_full_cells_output(l_max: int, n_element_attributes: int) -> None:
    model = make_model(l_max, n_element_attributes)
    reduced, full = (energies(model, *CRYSTALS.values(), l_max=l_max, symmetry=symmetry) for symmetry in (True, False))
    torch.testing.assert_close(reduced, full, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["egnn", *RIVALS])
def test_the_reduced_graph_gives_the_full_cells_output_for_other_networks(name: str) -> None:
    model, atol = (make_rival(RIVALS[name]), 1e-9) if name in RIVALS else (make_egnn(), 1e-6)
    reduced, full = (energies(model, *CRYSTALS.values(), symmetry=symmetry) for symmetry in (True, False))
    torch.testing.assert_close(reduced, full, rtol=0, atol=atol)


def test_the_reduced_graph_gives_the_full_cells_output_with_features_of_crystals() -> None:
    torch.manual_seed(0)
    statistics = torch.tensor([[1.0, 2.0], [1.0, 3.0]])
    model = Nequip(NequipConfig(n_channels=6), GraphConfig(r_max=4.5, l_max=2), torch.randn(119, 6), 20.0, statistics).double()
    out = []
    for symmetry, feature in [(True, 0.5), (False, 0.5), (True, 0.7)]:
        batch = make_batch(list(CRYSTALS.values()), symmetry, r_max=4.5, l_max=2)
        batch.global_features = torch.tensor([[feature, 1.5]], dtype=torch.float64).expand(batch.n_crystals, 2)
        out.append(model(batch).detach())
    torch.testing.assert_close(out[0], out[1], rtol=0, atol=1e-6)
    assert (out[0] - out[2]).abs().min().item() > 1e-5


def test_additional_features_are_cut_off_at_five_standard_deviations() -> None:
    statistics = torch.tensor([[1.0, 2.0], [2.0, 0.5]])
    values = torch.tensor([[1 + 2 * 100.0, 2 - 0.5 * 100.0], [1 + 2 * 4.5, 2 - 0.5 * 4.5]])
    (found,) = Standardise(statistics)(values)
    torch.testing.assert_close(found, torch.tensor([[5.0, -5.0], [4.5, -4.5]]))


def test_a_message_of_cgcnn_is_a_gate_times_a_core() -> None:
    """Equation 5 of Xie and Grossman, times the weight of the edge."""
    torch.manual_seed(0)
    layer = WeightedCGConv(4, 3)
    x_i, x_j, edge, weight = torch.randn(6, 4), torch.randn(6, 4), torch.randn(6, 3), torch.rand(6, 1)
    z = torch.cat([x_i, x_j, edge], dim=1)
    expected = layer.lin_f(z).sigmoid() * torch.nn.functional.softplus(layer.lin_s(z)) * weight
    torch.testing.assert_close(layer.message(x_i, x_j, edge, weight), expected)


def test_a_displacement_of_the_whole_crystal_changes_nothing_in_egnn() -> None:
    layer, batch = make_egnn().layers[0], make_batch([CRYSTALS["quartz"]], **GRAPH, symmetry=False)
    h, strength = torch.randn(batch.n_orbits, 8).double(), torch.ones(len(batch.edge_vec)).double()
    everywhere = torch.tensor([0.1, -0.2, 0.3]).double().expand(batch.n_orbits, 3)
    before, after = (layer(h, start, strength, batch) for start in (torch.zeros_like(everywhere), everywhere))
    torch.testing.assert_close(after[0], before[0], **TIGHT)
    torch.testing.assert_close(after[1], before[1] + everywhere, **TIGHT)


def test_displacements_matter_in_egnn_and_begin_near_zero() -> None:
    untrained = make_rival(EgnnConfig(n_channels=256, n_layers=1)).layers[0].move[-1].weight
    assert untrained.std().item() == pytest.approx(1e-3, rel=0.3)
    model, crystal = make_egnn(), CRYSTALS["quartz"]
    before = energies(model, crystal)
    for layer in model.layers:
        torch.nn.init.zeros_(layer.move[-1].weight)
    assert (energies(model, crystal) - before).abs().item() > 5e-5  # fifty times the tolerance above


def test_the_reduced_graph_gives_the_full_cells_gradient(model: torch.nn.Module) -> None:
    for name, crystal in CRYSTALS.items():
        gradients = []
        for symmetry in (True, False):
            model.zero_grad()
            model(make_batch([crystal], symmetry, **GRAPH)).sum().backward()
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-6 * gradients[1].abs().max().item(), msg=name)


def test_the_reduction_of_a_distorted_crystal_is_exact_to_second_order(
    model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "find_symmetry", partial(find_symmetry, symprec=2e-2))
    crystal, differences = CRYSTALS["quartz"], []
    direction = np.random.default_rng(0).normal(size=(crystal.n_atoms, 3))
    for step in (1e-4, 2e-4):
        distorted = Crystal(crystal.lattice, crystal.frac_coords + step * direction, crystal.atomic_numbers)
        reduced = energies(model, distorted)
        assert make_batch([distorted]).n_orbits == 2
        differences.append((reduced - energies(model, distorted, symmetry=False)).abs().item())
    assert differences[1] / differences[0] == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize("forget", ["rotations", "multiplicity"])
def test_the_reduction_needs_its_rotations_and_multiplicities(forget: str) -> None:
    model, crystal = make_model(), CRYSTALS["quartz"]
    batch = make_batch([crystal], r_max=4.5, l_max=2)
    if forget == "rotations":
        batch.atom_rotation = make_batch([crystal], symmetry=False, r_max=4.5, l_max=2).atom_rotation
    else:
        batch.edge_multiplicity = torch.ones_like(batch.edge_multiplicity)
        batch.edge_multiplicity[0] = 2
    assert (model(batch) - energies(model, crystal, symmetry=False)).abs().item() > 1e-6


@pytest.mark.parametrize(
    ("name", "forget"),
    [*((name, field) for name in RIVALS for field in ("edge_multiplicity", "orbit_weight")), ("alignn", "triplet_multiplicity")],
)
def test_the_reduction_of_other_networks_needs_its_weights(name: str, forget: str) -> None:
    model, crystal = make_rival(RIVALS[name]), CRYSTALS["rutile"]
    batch = make_batch([crystal], **GRAPH)
    weights = getattr(batch, forget)
    setattr(batch, forget, torch.full_like(weights, weights.mean().item()))
    assert (model(batch) - energies(model, crystal, symmetry=False)).abs().item() > 1e-5


def test_angles_matter_in_alignn() -> None:
    model, batch = make_rival(RIVALS["alignn"]), make_batch([CRYSTALS["perovskite"]], **GRAPH)
    before = model(batch)
    batch.triplet_cos = batch.triplet_cos / 2
    assert (model(batch) - before).abs().item() > 1e-6


def test_alignn_is_continuous_when_a_bond_enters_the_line_graph() -> None:
    out, n_triplets = {}, {}
    for r_angle in (2.8199, 2.8201, 4.0):  # the bond of rock salt is 2.82 long
        batch = make_batch([CRYSTALS["rock salt"]], **{**GRAPH, "r_angle": r_angle})
        out[r_angle], n_triplets[r_angle] = make_rival(RIVALS["alignn"], r_angle=r_angle)(batch).item(), len(batch.triplet_cos)
    assert 0 == n_triplets[2.8199] < n_triplets[2.8201]
    assert out[2.8199] == pytest.approx(out[2.8201], abs=1e-9)
    assert abs(out[4.0] - out[2.8199]) > 1e-6


def test_alignn_with_a_zero_head_begins_at_zero_and_is_the_same_network_otherwise() -> None:
    usual, zero = make_rival(RIVALS["alignn"]), make_rival(replace(RIVALS["alignn"], zero_head=True))
    assert energies(zero, *CRYSTALS.values()).abs().max() == 0 < energies(usual, *CRYSTALS.values()).abs().min()
    zero.head.load_state_dict(usual.head.state_dict())
    torch.testing.assert_close(zero.state_dict(), usual.state_dict(), rtol=0, atol=0)


def test_alignn_without_angles_is_refused() -> None:
    with pytest.raises(ValueError, match="r_angle=0"):
        make_network(AlignnConfig(), GraphConfig(), torch.randn(119, 6), 20.0)


def test_order_of_atoms_changes_nothing(model: torch.nn.Module) -> None:
    others = []
    for crystal in CRYSTALS.values():
        order = np.random.default_rng(0).permutation(crystal.n_atoms)
        others.append(Crystal(crystal.lattice, crystal.frac_coords[order], crystal.atomic_numbers[order]))
    check_same(model, others)


def test_choice_of_cell_changes_nothing(model: torch.nn.Module) -> None:
    others, change = [], np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]])  # of determinant one
    for crystal in CRYSTALS.values():
        lattice = change @ crystal.lattice
        frac = crystal.cart_coords @ np.linalg.inv(lattice) + np.array([0.3, -1.2, 2.1])
        others.append(Crystal(lattice, frac, crystal.atomic_numbers))
    check_same(model, others)


def test_a_supercell_scores_like_its_cell(model: torch.nn.Module) -> None:
    others = [Crystal.from_structure(crystal.to_structure() * (2, 1, 1)) for crystal in CRYSTALS.values()]
    check_same(model, others, reduced=(True, False))


def test_other_crystals_of_a_batch_change_nothing(model: torch.nn.Module) -> None:
    crystals = list(CRYSTALS.values())
    together = energies(model, *crystals)
    torch.testing.assert_close(together, torch.cat([energies(model, crystal) for crystal in crystals]), **TIGHT)


def test_an_atom_without_neighbours_has_an_output(model: torch.nn.Module) -> None:
    lonely = Crystal(np.eye(3) * 20, np.zeros((1, 3)), np.array([36]))
    assert torch.isfinite(energies(model, lonely, CRYSTALS["quartz"])).all()


@pytest.mark.parametrize("options", [{}, {"n_channels": 16}, {"n_channels": 16, "radial_knots": 8}])
def test_a_batch_without_any_edge_trains(options: dict[str, int]) -> None:
    lonely = Crystal(np.eye(3) * 20, np.zeros((1, 3)), np.array([36]))
    model = make_model(**options).float()
    model(make_batch([lonely], r_max=4.5, l_max=2).to("cpu", torch.float32)).sum().backward()
    assert model.head[0].weight.grad.abs().max() > 0


def test_the_output_is_continuous_when_a_neighbour_crosses_the_cutoff(model: torch.nn.Module) -> None:
    a = 4.5
    out = [
        energies(model, Crystal.from_structure(Structure(Lattice.cubic(x), ["Na"], [[0, 0, 0]]))) for x in (a - 1e-4, a + 1e-4)
    ]
    far = energies(model, Crystal.from_structure(Structure(Lattice.cubic(a - 0.5), ["Na"], [[0, 0, 0]])))
    assert (out[0] - out[1]).abs().item() < 1e-8
    assert (far - out[1]).abs().item() > 1e-5


def test_the_radial_basis_is_finite_at_zero_and_smoothly_zero_at_the_cutoff() -> None:
    x = torch.tensor([0.0, 1 - 1e-3, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    cutoff = polynomial_cutoff(x, 6.0)
    assert torch.isfinite(bessel_basis(x, 5.0, 8)).all()
    assert cutoff[0] == 1 and cutoff[1] < 1e-6 and (cutoff[2:] == 0).all()
    (slope,) = torch.autograd.grad(cutoff[1], x)
    assert slope.abs().max() < 1e-3


def test_a_flat_linear_layer_keeps_unit_variance() -> None:
    torch.manual_seed(0)
    (out,) = EquivariantLinear([200], [300])([torch.randn(1, 1000, 200)])
    assert out.std().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("part", ["gate", "parity"])
def test_the_laws_of_invariance_can_fail(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias on vectors, or features that ignore inversion, change the energies of rotated crystals."""
    from src.models import nequip

    model, crystal = make_model(), CRYSTALS["triclinic"]
    before = energies(model, crystal)
    if part == "gate":
        gated = nequip.gated
        monkeypatch.setattr(nequip, "gated", lambda x, n: [f + (0.3 if f.shape[0] > 1 else 0) for f in gated(x, n)])
        before, rotation = energies(model, crystal), random_rotation(5)
    else:
        monkeypatch.setattr(nequip, "edge_harmonics", _harmonics_of_wrong_parity)
        before, rotation = energies(model, crystal), -np.eye(3)
    assert (energies(model, moved(crystal, rotation)) - before).abs().item() > 1e-6


def _harmonics_of_wrong_parity(l_max: int, vec: Tensor) -> Tensor:
    sh = edge_harmonics(l_max, vec).clone()
    sh[:, 0] += vec.sum(dim=1).clamp(min=0)
    return sh


def reference_schnet(ours: Schnet, edges: tuple[Tensor, Tensor]) -> SchNet:
    """Return torch-geometric's SchNet with the weights of ours, whose element vectors are one-hot, on given edges and lengths."""
    settings = {"num_gaussians": 50, "cutoff": GRAPH["r_max"], "readout": "mean", "interaction_graph": lambda *_: edges}
    reference = SchNet(8, 8, len(ours.layers), **settings)
    weights = {"embedding.weight": ours.embedding.weight.T[:100]}
    weights |= {f"lin{i}.{kind}": getattr(ours.head[2 * i - 2], kind) for i in (1, 2) for kind in ("weight", "bias")}
    for name, value in ours.layers.state_dict().items():
        weights[f"interactions.{name}"] = value
        if ".mlp." in name:  # their convolution holds it too
            weights[f"interactions.{name.replace('.mlp.', '.conv.nn.')}"] = value
    missing, unexpected = reference.double().load_state_dict(weights, strict=False)
    assert missing == ["distance_expansion.offset"] and unexpected == []
    return reference


def test_schnet_on_reduced_graphs_is_torch_geometrics_on_full_ones() -> None:
    torch.manual_seed(0)
    ours = Schnet(RIVALS["schnet"], GraphConfig(r_max=GRAPH["r_max"]), torch.eye(119), 1.0).double()
    full, reduced = (make_batch(list(CRYSTALS.values()), r_max=GRAPH["r_max"], symmetry=symmetry) for symmetry in (False, True))
    reference = reference_schnet(ours, (orbit_edges(full), full.length[full.edge_length_index]))
    expected = reference(full.orbit_z, torch.zeros(full.n_orbits, 3), full.orbit_batch)[:, 0]
    assert expected.std() > 1e-3
    torch.testing.assert_close(ours(full), expected, rtol=0, atol=1e-7)  # their Gaussians were placed in single precision
    torch.testing.assert_close(ours(reduced), expected, rtol=0, atol=1e-6)  # symmetric positions differ by the search's tolerance
