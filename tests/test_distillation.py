"""Laws of distillation: fold k learns from the teacher of fold k, and neither has seen a row that the fold scores."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase.data import covalent_radii
from conftest import CRYSTALS, load, small_table, small_task, write_task
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from src.config import (
    BlendConfig,
    DistillationConfig,
    ExperimentConfig,
    FoldConfig,
    GbdtConfig,
    GbdtEnsembleConfig,
    GnnConfig,
    GraphConfig,
    NequipConfig,
    PretrainingConfig,
    StudyConfig,
    TargetConfig,
    TrainingConfig,
)
from src.config import load as configs
from src.data.crystal import Crystal
from src.data.load import TaskData, load_folds
from src.data.substitution import N_NEIGHBORS, chemical_neighbors, replaced, substituted
from src.data.table import Crystals
from src.learners.gbdt import GbdtLearner
from src.runs import distillation
from src.runs.distillation import unlabelled_crystals
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher
from src.runs.study import run_study
from src.runs.train import check_processes

FOLDS = FoldConfig(scheme="shuffled", n_folds=4)
TREES = GbdtConfig(features=("fractions",), n_trees=20, min_child_samples=2)
TEACHER = ExperimentConfig(learner=TREES, folds=FOLDS, target=TargetConfig(kind="residual"))
BOTH = DistillationConfig(teacher="067", test_crystals=True, n_substituted=2)
STUDENT = replace(TEACHER, distillation=BOTH)


def train(config: ExperimentConfig, name: str, data: TaskData) -> dict | None:
    return run_experiment(config, name, data, None, Launcher(n_jobs=1), "cpu")


def lessons(data: TaskData, monkeypatch: pytest.MonkeyPatch, name: str = "exp068") -> list[tuple[Any, NDArray]]:
    """Train a student; return the inputs and targets that it learns from in each fold."""
    seen: list[tuple[Any, NDArray]] = []
    fit = GbdtLearner.fit

    def recorded(self: GbdtLearner, inputs: Any, target: NDArray, *args: Any) -> None:
        seen.append((inputs, target))
        fit(self, inputs, target, *args)

    with monkeypatch.context() as patch:
        patch.setattr(GbdtLearner, "fit", recorded)
        train(STUDENT, name, data)
    return seen


def test_the_neighbours_of_an_element_are_alike() -> None:
    found = chemical_neighbors(range(1, 90))
    for z, neighbor in [(11, 19), (26, 25), (57, 58), (9, 8), (40, 72), (82, 50)]:  # Na K, Fe Mn, La Ce, F O, Zr Hf, Pb Sn
        assert neighbor in found[z]
    assert all(len(others) == N_NEIGHBORS and z not in others for z, others in found.items())


def test_a_copy_has_one_element_replaced_and_lengths_in_proportion_to_the_radii() -> None:
    crystals = Crystals.from_list(list(CRYSTALS.values()))
    copies, parent = substituted(crystals, 3)
    several = [i for i in range(len(crystals)) if len(set(crystals[i].atomic_numbers)) > 1]
    assert parent.tolist() == [i for i in several for _ in range(3)]
    known = chemical_neighbors(sorted({z for crystal in CRYSTALS.values() for z in crystal.atomic_numbers}))
    for copy, i in zip(copies, parent, strict=True):
        old = crystals[i]
        changed = copy.atomic_numbers != old.atomic_numbers
        (before,), (after,) = set(old.atomic_numbers[changed]), set(copy.atomic_numbers[changed])
        assert after in known[before] and (old.atomic_numbers == before).sum() == changed.sum()
        np.testing.assert_array_equal(copy.frac_coords, old.frac_coords)
        ratio = covalent_radii[copy.atomic_numbers].mean() / covalent_radii[old.atomic_numbers].mean()
        np.testing.assert_allclose(copy.lattice, old.lattice * ratio)
    again, _ = substituted(crystals, 3)
    assert all(np.array_equal(a.atomic_numbers, b.atomic_numbers) for a, b in zip(copies, again, strict=True))
    assert len({(i, *copy.atomic_numbers) for i, copy in zip(parent, copies, strict=True)}) > len(several)


def test_no_copy_gets_a_noble_gas() -> None:
    """Caesium fluoride and xenon: xenon is a neighbour of both, and stays alone."""
    cell = Lattice.cubic(4)
    salts = [Structure(cell, [a, b], [[0, 0, 0], [0.5, 0.5, 0.5]]) for a in ("Cs", "Rb") for b in ("F", "Cl")]
    xenon = Structure(cell, ["Xe", "F", "F"], [[0, 0, 0], [0, 0, 0.5], [0.5, 0.5, 0.5]])
    crystals = Crystals.from_list([Crystal.from_structure(one) for one in [*salts, xenon]])
    assert 54 in chemical_neighbors([9, 17, 37, 54, 55])[55]
    copies, parent = substituted(crystals, 20)
    assert not any(54 in copy.atomic_numbers for copy, i in zip(copies, parent, strict=True) if i < len(salts))
    assert len(salts) * 10 < (parent < len(salts)).sum() < len(salts) * 20


def test_a_larger_element_makes_the_cell_larger() -> None:
    crystal = next(crystal for crystal in CRYSTALS.values() if 11 in crystal.atomic_numbers)
    assert replaced(crystal, 11, 19).volume > crystal.volume  # Na -> K


def test_each_fold_learns_what_its_own_teacher_predicts(data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    train(TEACHER, "exp067", data)
    folder, fold = data.folder / "exp067", load_folds(data, FOLDS)
    seen = lessons(data, monkeypatch)
    assert len(seen) == FOLDS.n_folds
    for k, (inputs, target) in enumerate(seen):
        n_train, n_test = int((fold != k).sum()), len(data.test.ids)
        taught = pd.read_csv(folder / f"fold_{k}/test.csv")["e_form_pred"]
        stored = pd.read_json(folder / f"fold_{k}/normalizer.json", typ="series")
        counts = data.test.crystals.element_counts
        shift = counts @ np.array(stored["shift"]) / counts.sum(axis=1)
        np.testing.assert_allclose(target[-n_test:], (taught - shift) / stored["scale"], atol=1e-9)
        assert len(inputs) == len(target) > n_train + n_test


def test_the_labels_of_scored_rows_and_their_copies_teach_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other labels of the rows that a fold scores change neither what it learns nor from which crystals."""
    tables, seen = small_table(46), []
    scored = load_folds(load(small_task(tmp_path / "folds")), FOLDS) == 2
    for name, change in (("a", 0.0), ("b", 7.0)):
        rows = tables[:40].copy()
        target = rows.columns[-1]
        rows.loc[scored, target] = rows.loc[scored, target].astype(float) + change
        write_task(tmp_path / name / "small", rows, tables[40:])
        data = load(tmp_path / name / "small")
        train(TEACHER, "exp067", data)
        seen.append(lessons(data, monkeypatch)[2])
    (inputs, target), (other_inputs, other_target) = seen
    np.testing.assert_array_equal(target, other_target)
    for group, table in inputs.tables.items():
        np.testing.assert_array_equal(table, other_inputs.tables[group])
    crystals, parent = unlabelled_crystals(BOTH, data)
    assert len(target) == (~scored).sum() + int((~np.isin(parent, np.flatnonzero(scored))).sum()) < len(crystals) + 40


def test_a_network_learns_from_unlabelled_crystals_too(data: TaskData) -> None:
    train(TEACHER, "exp067", data)
    network = GnnConfig(
        training=TrainingConfig(n_epochs=1, batch_size=16),
        graph=GraphConfig(r_max=3.5),
        network=NequipConfig(n_channels=4, n_layers=2, radial_hidden=(8,), head_hidden=(4,)),
    )
    alone = train(replace(TEACHER, learner=network), "exp069", data)
    metrics = train(replace(STUDENT, learner=network), "exp068", data)
    assert alone and metrics and metrics["oof_mae"] != alone["oof_mae"]
    of_fold = pd.read_json(data.folder / "exp068/fold_0/metrics.json", typ="series")
    assert of_fold["n_unlabelled"] > 40 and of_fold["n_train"] + of_fold["n_valid"] == 40


def test_a_variant_of_a_study_can_teach_the_next(data: TaskData) -> None:
    student = replace(TEACHER, distillation=DistillationConfig(teacher="084/the teacher", test_crystals=True))
    config = StudyConfig(variants=(("the teacher", TEACHER), ("the student", student)), folds=(0, 2))
    run_study(config, "exp084", data, None, Launcher(n_jobs=1), "cpu")
    assert (data.folder / "exp084/table.csv").is_file()


def test_a_teacher_that_is_not_trained_or_saw_other_folds_is_refused(data: TaskData) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"teacher='067'.* of the folds 0, 1, 2, 3 .*train it first: python exp/exp067/train"
    ):
        train(STUDENT, "exp068", data)
    train(replace(TEACHER, folds=replace(FOLDS, seed=5)), "exp067", data)
    with pytest.raises(ValueError, match=r"teacher='067': it was trained on other folds, so it has seen rows that are scored"):
        train(STUDENT, "exp069", data)


def test_graphs_and_energies_are_kept_for_these_crystals_alone(data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other settings or another way to make copies give another key, another teacher of the same crystals does not."""
    keys = {
        distillation.crystals_key(config, data) for config in (BOTH, replace(BOTH, n_substituted=1), replace(BOTH, teacher="001"))
    }
    monkeypatch.setattr(distillation, "CODE", (*distillation.CODE, __file__))
    assert len(keys) == 2 and distillation.crystals_key(BOTH, data) not in keys
    assert any(Path(file).name == "substitution.py" for file in distillation.CODE)


def test_the_inputs_are_those_of_the_crystals_that_are_taught_also_after_the_code_has_changed(
    data: TaskData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train(TEACHER, "exp067", data)
    made, changed = substituted, tmp_path / "substitution.py"
    changed.write_text("# another way to make copies")
    for name in ("exp068", "exp069"):
        inputs, _ = lessons(data, monkeypatch, name=name)[0]
        crystals, parent = unlabelled_crystals(BOTH, data)
        kept = ~np.isin(parent, np.flatnonzero(load_folds(data, FOLDS) == 0))
        own = GbdtLearner(TREES).prepare_inputs(crystals, name, tmp_path / "cache", 1).tables["fractions"][kept]
        np.testing.assert_array_equal(inputs.tables["fractions"][-kept.sum() :], own)
        monkeypatch.setattr(distillation, "CODE", (distillation.__file__, str(changed)))
        monkeypatch.setattr(distillation.substitution, "substituted", lambda table, n: tuple(x[5:] for x in made(table, n)))


def test_a_task_without_crystals_to_learn_from_is_refused(data: TaskData) -> None:
    nothing = replace(data, test=replace(data.test, ids=np.array([], dtype=np.str_)))
    with pytest.raises(ValueError, match="distillation: small has no test crystals, and none of several elements"):
        unlabelled_crystals(DistillationConfig(teacher="067", test_crystals=True), nothing)


def test_a_teacher_of_other_data_is_refused(tmp_path: Path) -> None:
    """With the rows in another order the same folds have other crystals."""
    rows = small_table(46)
    write_task(tmp_path / "small", rows[:40], rows[40:])
    train(TEACHER, "exp067", load(tmp_path / "small"))
    write_task(tmp_path / "small", rows[:40][::-1], rows[40:])
    with pytest.raises(ValueError, match="teacher='067': it was trained on other data, so it may have seen rows that are scored"):
        train(STUDENT, "exp068", load(tmp_path / "small"))


def test_a_student_may_have_fewer_training_crystals_than_its_teacher(data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    train(TEACHER, "exp067", data)
    config = replace(STUDENT, folds=replace(FOLDS, n_train=20))
    assert train(config, "exp068", data)


def test_an_energy_without_a_transform_is_named_with_its_crystal(data: TaskData) -> None:
    train(TEACHER, "exp067", data)
    positive = replace(data.train, e_form=np.abs(data.train.targets) + 0.1)
    student = replace(STUDENT, target=TargetConfig(kind="residual", transform="log"))
    with pytest.raises(ValueError, match=r"transform='log' is not defined for -0\..*the teacher predicts for .* \(made from x-"):
        train(student, "exp068", replace(data, train=positive))


def test_two_teachers_of_the_same_settings_are_told_apart(data: TaskData) -> None:
    """By their files: the settings of an ensemble of trees do not name its weights."""
    ensemble = replace(TEACHER, learner=GbdtEnsembleConfig(members=(TREES, replace(TREES, num_leaves=4))))
    energies = []
    for number, change in (("067", 0.0), ("066", 3.0)):
        other = replace(data, train=replace(data.train, e_form=data.train.targets + change * np.arange(40) / 40))
        train(ensemble, f"exp{number}", other)
        config = replace(STUDENT, distillation=replace(BOTH, teacher=number))
        energies.append(distillation.teach(config.distillation, config, data, [0], "cpu", 1)[2].energies[0])
    assert np.abs(energies[0] - energies[1]).max() > 0.1


@pytest.mark.parametrize("scheme", ["grouped", "systems"])
def test_folds_that_are_not_to_see_a_formula_have_no_teacher(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"distillation: requires folds\.scheme='stratified' or 'shuffled'"):
        replace(STUDENT, folds=FoldConfig(scheme=scheme, n_folds=4))


def test_torchrun_refuses_a_teacher_and_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.runs.train.distributed.world_size", lambda: 2)
    network = GnnConfig(training=TrainingConfig(n_epochs=1))
    noisy = replace(network, pretraining=PretrainingConfig(n_epochs=1, force_weight=0.1, displacement=0.1))
    check_processes(replace(TEACHER, learner=network), Launcher(where="torchrun"))
    for config, message in [(replace(STUDENT, learner=network), "a teacher"), (replace(TEACHER, learner=noisy), "noise")]:
        with pytest.raises(ValueError, match=f"torchrun cannot spread .*{message}"):
            check_processes(config, Launcher(where="torchrun"))


def test_what_cannot_be_distilled_is_refused() -> None:
    with pytest.raises(ValueError, match="n_substituted=0: must be at least 1 without test_crystals"):
        DistillationConfig(teacher="067")
    with pytest.raises(ValueError, match="distillation: must be None for an ensemble"):
        ExperimentConfig(learner=BlendConfig(members=("001", "002")), distillation=BOTH)


def test_a_student_is_in_the_track_of_its_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    on_energies = replace(TEACHER, target=TargetConfig(kind="residual", base="chgnet"))
    found = {"exp067": on_energies, "exp068": STUDENT, "exp069": TEACHER}
    monkeypatch.setattr(configs, "load_config", lambda folder: found[folder.name])
    assert [configs.track_of(number) for number in ("067", "068", "069")] == ["open", "open", "closed"]
