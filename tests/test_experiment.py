"""The whole path on a small task, by the real commands: train, go on, submit, compare, verify."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from conftest import FOLDS, GBDT, NEQUIP, load, run, small_table
from sklearn.metrics import r2_score

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, GbdtEnsembleConfig, TargetConfig
from src.config.catalogue import load_config
from src.data.export import write_task
from src.data.load import TaskData, load_folds
from src.data.task import read_task
from src.learners.learner import LEARNERS, Learner, Watched, write_learner
from src.paths import EXPERIMENTS, ROOT
from src.results import predictions as results
from src.results.folder import RunDir
from src.results.predictions import find_predictions
from src.results.publish import _publish, check_trained, publish
from src.runs import experiment, one_fold
from src.runs.train import main as train_main
from src.storage.files import write_atomic

sys.path.insert(0, str(ROOT))
import submit
from exp import compare

OPEN = replace(GBDT, target=TargetConfig(base="7net-l3i5"))
PARTS = (GBDT.learner, replace(GBDT.learner, features=("geometry", "fractions")))
ENSEMBLE = replace(GBDT, learner=GbdtEnsembleConfig(parts=PARTS, outlier_fraction=0.1))
KINDS = {"lightgbm": GBDT, "nequip": NEQUIP, "ensemble": ENSEMBLE}
EVERY_KIND = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)


def folder_of(task: Path, name: str = "exp001") -> Path:
    return task.parent / "outputs" / "small" / name


@EVERY_KIND
def test_a_run_covers_every_crystal_once_and_scores_what_it_wrote(task_folder: Path, config: ExperimentConfig) -> None:
    metrics = run(task_folder, config)
    oof, test = (pd.read_csv(folder_of(task_folder) / f"{name}.csv") for name in ("oof", "test"))
    train_ids = pd.read_csv(task_folder / "train.csv.gz")["id"]
    assert list(oof["id"]) == list(train_ids)
    assert metrics["oof_mae"] == pytest.approx(np.abs(oof["e_form"] - oof["e_form_pred"]).mean())
    per_fold = oof.assign(error=np.abs(oof["e_form"] - oof["e_form_pred"])).groupby("fold")["error"].mean()
    np.testing.assert_allclose(metrics["fold_maes"], per_fold)
    assert metrics["fold_mae_sd"] == pytest.approx(per_fold.std(ddof=1))
    assert metrics["oof_rmse"] ** 2 == pytest.approx(((oof["e_form"] - oof["e_form_pred"]) ** 2).mean())
    assert metrics["oof_r2"] == pytest.approx(r2_score(oof["e_form"], oof["e_form_pred"]))
    assert list(test["id"]) == list(pd.read_csv(task_folder / "test.csv.gz")["id"])
    np.testing.assert_allclose(test["e_form_pred"], test[[f"fold_{k}" for k in range(4)]].mean(axis=1))
    folds = [json.loads((folder_of(task_folder) / f"fold_{k}" / "metrics.json").read_text()) for k in range(4)]
    assert [(one["n_train"], one["n_valid"]) for one in folds] == [(40 - n, n) for n in oof.groupby("fold").size()]
    r2 = [r2_score(own["e_form"], own["e_form_pred"]) for _, own in oof.groupby("fold")]
    assert [one["r2"] for one in folds] == pytest.approx(r2)
    assert metrics["cpu_seconds"] == sum(one["cpu_seconds"] for one in folds) <= time.process_time()
    assert metrics["fold_wall_seconds"] == [one["wall_seconds"] for one in folds] and 0 < sum(metrics["fold_wall_seconds"]) < 600
    assert (
        metrics["resumed_folds"] == metrics["gpus"] == metrics["rows_left_out"] == []
        and metrics["n_parameters"] == folds[0]["n_parameters"] > 0
    )
    assert json.loads((folder_of(task_folder) / "metrics.json").read_text()) == metrics


def test_folds_in_any_order_and_in_processes_give_the_same_numbers(task_folder: Path) -> None:
    run(task_folder, NEQUIP)
    assert run(task_folder, NEQUIP, "exp002", folds=[2, 0]) is None
    run(task_folder, NEQUIP, "exp002", n_jobs=2)
    for name in ("oof.csv", "test.csv"):
        assert (folder_of(task_folder, "exp002") / name).read_bytes() == (folder_of(task_folder) / name).read_bytes()


@dataclass(frozen=True)
class ToyConfig(GbdtConfig):
    """A config that no learner of src/learners is registered for."""


class ToyLearner(Learner[ToyConfig]):
    """Predicts the mean of the target."""

    mean, limit_threads = 0.0, Mock()

    def prepare_inputs(self, crystals: Sized, key: str, cache: Path, n_jobs: int) -> np.ndarray:
        return np.arange(len(crystals))

    def histories(self) -> dict[str, int]:
        return {}

    def fit(self, inputs: np.ndarray, target: np.ndarray, folder: Path, watched: Watched | None = None) -> None:
        assert self.limit_threads.called
        self.mean = target.mean()

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return np.full(len(inputs), self.mean)

    def save(self, folder: Path) -> None:
        write_learner(folder, self.config, mean=self.mean)

    def restore(self, folder: Path, settings: dict) -> None:
        self.mean = settings["mean"]

    @property
    def n_parameters(self) -> int:
        return 1


def test_a_new_learner_is_a_class_and_one_line_of_the_registry(task_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEARNERS, ToyConfig, f"{__name__}:ToyLearner")
    monkeypatch.setattr(one_fold, "LIBRARIES", ("numpy", "abacus"))
    metrics = run(task_folder, replace(GBDT, learner=ToyConfig(), target=TargetConfig(kind="standardise")))
    oof = pd.read_csv(folder_of(task_folder) / "oof.csv")
    for k, rows in oof.groupby("fold"):
        others = oof.loc[oof["fold"] != k, "e_form"]
        np.testing.assert_allclose(rows["e_form_pred"], others.mean())
    assert metrics["n_parameters"] == 1
    assert [*metrics["versions"][0].items()][2:] == [("numpy", np.__version__), ("abacus", "not installed")]


def test_every_fold_trains_with_a_seed_of_its_own(task_folder: Path) -> None:
    run(task_folder, replace(GBDT, seed=5))
    saved = [json.loads((folder_of(task_folder) / f"fold_{k}" / "learner.json").read_text()) for k in range(4)]
    assert [learner["seed"] for learner in saved] == [5, 6, 7, 8]


def test_rows_that_do_not_have_the_stored_score_or_target_are_refused(task_folder: Path) -> None:
    run(task_folder)
    folder, read = folder_of(task_folder), lambda: find_predictions("001", read_task(task_folder), task_folder.parent / "outputs")
    for path, again in ((folder / "oof.csv", read), (folder / "fold_1" / "valid.csv", lambda: RunDir(folder).valid(1))):
        table = pd.read_csv(path)
        table.assign(e_form_pred=table["e_form"] + 1).to_csv(path, index=False)
        with pytest.raises(ValueError, match=f"{path.name}: its rows have an MAE of 1.000000"):
            again()
    shifted = table.assign(**{name: table[name] + 5e-9 for name in ("e_form", "e_form_pred")})
    error, first = np.abs(table["e_form"] - table["e_form_pred"]).mean(), pd.read_csv(folder / "fold_0" / "valid.csv")["id"][0]
    twice = pd.concat([table, table[:1].assign(id=first, e_form_pred=table["e_form"] + error)])
    for other in (shifted, table.assign(id=table["id"] + "x"), twice):
        other.to_csv(path, index=False)
        with pytest.raises(ValueError, match="do not contain each training row once, with its target"):
            run(task_folder)


def test_finished_folds_are_not_trained_again(task_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(task_folder, GBDT)
    monkeypatch.setattr(experiment, "run_fold", lambda *_: pytest.fail("trained again"))
    assert run(task_folder, GBDT) == first


def test_a_run_goes_on_when_a_new_knob_arrives_with_its_default(task_folder: Path) -> None:
    run(task_folder, NEQUIP, folds=[0])
    path = folder_of(task_folder) / "config.json"
    stored = json.loads(path.read_text())
    del stored["config"]["learner"]["training"]["optimizer"]  # as written before the knob was there
    path.write_text(json.dumps(stored))
    run(task_folder, NEQUIP, folds=[1])


def test_another_config_or_other_data_stop_a_run(task_folder: Path) -> None:
    run(task_folder, GBDT, folds=[0])
    with pytest.raises(ValueError, match="another config"):
        run(task_folder, replace(GBDT, seed=1), folds=[1])
    rows = small_table(46, seed=9)
    write_task(task_folder, rows[:40], rows[40:])
    with pytest.raises(ValueError, match="another data"):
        run(task_folder, GBDT, folds=[1])


@EVERY_KIND
def test_targets_of_scored_rows_change_nothing_that_is_fitted(task_folder: Path, config: ExperimentConfig) -> None:
    """No leakage: fold 1 trained with other targets in its own rows gives the same model, so the same predictions."""
    run(task_folder, config, folds=[1])
    data = load(task_folder)
    fold = load_folds(data, FOLDS)
    changed = data.train.targets + np.where(fold == 1, 5.0, 0.0)
    other = TaskData(
        data.task, replace(data.train, target=changed), data.test, data.train_key, data.test_key, data.key, data.outputs, []
    )  # same keys: same folds
    run(other, config, "exp002", [1])
    before, after = (pd.read_csv(folder_of(task_folder, name) / "fold_1" / "valid.csv") for name in ("exp001", "exp002"))
    np.testing.assert_array_equal(before["e_form_pred"], after["e_form_pred"])
    np.testing.assert_allclose(after["e_form"], before["e_form"] + 5)
    normalizers = [(folder_of(task_folder, name) / "fold_1" / "normalizer.json").read_text() for name in ("exp001", "exp002")]
    assert normalizers[0] == normalizers[1]


def test_with_a_base_nothing_leaks_and_the_residual_alone_is_learned(task_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base here is the target, but for noise and a constant: what is predicted must be near the target."""
    rows = pd.read_csv(task_folder / "train.csv.gz")["formation_energy_per_atom"].to_numpy()

    def energies(config: TargetConfig, crystals: Sized, *_: object) -> np.ndarray:
        return np.resize(rows, len(crystals)) + np.random.default_rng(3).normal(size=len(crystals)) * 1e-3 + 7

    monkeypatch.setattr(experiment, "base_of", energies)
    metrics = run(task_folder, OPEN, "exp003")
    assert metrics["oof_mae"] < 0.01
    test_targets_of_scored_rows_change_nothing_that_is_fitted(task_folder, OPEN)


def test_submission_is_the_mean_in_the_samples_order(task_folder: Path, where: list[str], capsys: pytest.CaptureFixture) -> None:
    run(task_folder, GBDT, "exp001")
    run(task_folder, replace(GBDT, seed=5), "exp003")
    sample = pd.read_csv(task_folder / "sample_submission.csv")
    sample[::-1].to_csv(task_folder / "sample_submission.csv", index=False)
    submit.main(["--exps", "001", "3", "--weights", "3", "1", *where])
    written = pd.read_csv(folder_of(task_folder, "submission.csv"))
    assert list(written["id"]) == list(sample["id"][::-1])
    a, b = (pd.read_csv(folder_of(task_folder, name) / "test.csv")["e_form_pred"][::-1] for name in ("exp001", "exp003"))
    np.testing.assert_allclose(written["formation_energy_per_atom"], 0.75 * a + 0.25 * b)
    assert "exp003" in capsys.readouterr().out


def test_the_interval_of_a_row_is_its_own_wherever_the_sample_has_it(task_folder: Path, where: list[str]) -> None:
    run(task_folder, GBDT, "exp001")
    sample, found = pd.read_csv(task_folder / "sample_submission.csv"), []
    for order in ([0, 1, 2, 3, 4, 5], [3, 0, 5, 1, 4, 2]):
        sample.loc[order].to_csv(task_folder / "sample_submission.csv", index=False)
        submit.main(["--exps", "001", *where])
        found.append(pd.read_csv(folder_of(task_folder, "submission_with_uncertainty.csv")).set_index("id"))
    pd.testing.assert_frame_equal(found[0], found[1].loc[found[0].index])
    of_folds = pd.read_csv(folder_of(task_folder) / "test.csv").set_index("id").filter(like="fold_")
    np.testing.assert_allclose(found[0]["spread"], of_folds.std(axis=1, ddof=0)[found[0].index])


@pytest.mark.parametrize(("n_train", "says"), [(40, "90% intervals"), (12, "no intervals: 6 out-of-fold rows are too few")])
def test_a_submission_has_intervals_or_says_why_not_and_both_tables_may_count_from_zero(
    task_folder: Path, where: list[str], capsys: pytest.CaptureFixture, n_train: int, says: str
) -> None:
    for path in task_folder.glob("*.csv*"):
        table = pd.read_csv(path)[:n_train]
        table.assign(id=range(len(table))).to_csv(path, index=False)
    run(task_folder, replace(GBDT, folds=FoldConfig(n_folds=2)))
    submit.main(["--exps", "001", *where])
    assert says in capsys.readouterr().out
    assert folder_of(task_folder, "submission.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--exps", "001", "004"], "exp004 is not finished"),
        (["--exps", "001", "999"], "no experiment exp999"),
        (["--exps", "001", "1"], "exp001 is named twice"),
        (["--exps", "001", "--baseline", "1"], "exp001 is among --exps already"),
        (["--exps", "one"], "not the number of an experiment"),
        (["--exps", "001", "--weights", "1", "2"], "2 weights for 1"),
        (["--exps", "001", "--weights", "-1"], "expected finite numbers >= 0"),
    ],
)
def test_a_submission_that_cannot_be_is_refused_by_name(
    task_folder: Path, where: list[str], arguments: list[str], message: str
) -> None:
    run(task_folder, GBDT, "exp001")
    with pytest.raises(SystemExit, match=message):
        submit.main([*arguments, *where])
    assert not folder_of(task_folder, "submission.csv").exists()


def test_a_comparison_scores_only_when_asked_and_counts_what_is_inside_the_submitted_intervals(
    task_folder: Path, where: list[str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(task_folder, GBDT, "exp001")
    compare.main(["001", "--score", *where])
    shown = capsys.readouterr().out
    truth = pd.read_csv(task_folder / "test_labels.csv.gz")["formation_energy_per_atom"]
    submit.main(["--exps", "001", *where])
    bounds = pd.read_csv(folder_of(task_folder, "submission_with_uncertainty.csv"))
    assert f"{truth.between(bounds['lower'], bounds['upper']).mean():.1%}" in shown
    monkeypatch.setattr("src.results.labels.read_labels", lambda task: pytest.fail("read the test labels"))
    compare.main(where)


@pytest.fixture
def published(task_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """A function that publishes a finished run of exp001 and returns the folder of its results."""
    run(task_folder, GBDT)
    monkeypatch.setattr(results, "EXPERIMENTS", task_folder.parent / "exp")
    monkeypatch.setattr(results, "DEFAULT_TASK", task_folder)
    return lambda: publish("001", read_task(task_folder), task_folder.parent / "outputs")


def test_what_was_not_trained_here_is_not_said_to_be_published(task_folder: Path, published: Callable[[], Path]) -> None:
    published()
    elsewhere, task = task_folder.parent / "elsewhere", read_task(task_folder)
    check_trained(["001"], task, task_folder.parent / "outputs")
    with pytest.raises(ValueError, match=r"^not trained here on task .*: exp001; .*python exp/exp001/train.py$"):
        check_trained(["001"], task, elsewhere)
    (task.runs(elsewhere) / "tune" / "exp001").mkdir(parents=True)
    (task.runs(elsewhere) / "tune" / "exp001" / "trials.csv").touch()
    check_trained(["001"], task, elsewhere)  # what a search left can be published


def test_published_results_are_read_as_the_run_itself_is(task_folder: Path, published: Callable[[], Path]) -> None:
    folder, task = published(), read_task(task_folder)
    own, read = (find_predictions("001", task, task_folder.parent / where) for where in ("outputs", "nowhere"))
    assert read.source == task_folder.parent / "exp/exp001/results" == folder and read.metrics == own.metrics
    pd.testing.assert_frame_equal(read.oof, own.oof)
    pd.testing.assert_frame_equal(read.test, own.test)


def test_the_tables_of_a_search_are_published_once_beside_the_experiment(outputs: Path, published: Callable[[], Path]) -> None:
    for loss in (b"0.1", b"0.2"):
        write_atomic(outputs / "small/tune/exp001/trials.csv", b"trial,state,loss\n0,complete,%b\n" % loss)
        folder = published()
        assert (folder / "trials.csv").read_text() == "trial,state,loss\n0,complete,0.1\n" and (folder / "oof.csv.gz").is_file()


def test_the_same_run_trained_again_leaves_published_results_as_they_are(
    task_folder: Path, published: Callable[[], Path]
) -> None:
    before = (published() / "metrics.json").read_bytes()
    path = folder_of(task_folder) / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cpu_seconds": 1e6}))
    assert (published() / "metrics.json").read_bytes() == before
    own = find_predictions("001", read_task(task_folder), path.parents[2])
    for _ in range(2):  # what is new about a task is added
        _publish(own, published(), {"unit": "eV"}, keep_rows=False)
        assert json.loads((published() / "metrics.json").read_text()) == own.metrics | json.loads(before) | {"unit": "eV"}


def test_the_commands_work_to_the_letter_from_any_folder(task_folder: Path, where: list[str], tmp_path: Path) -> None:
    """`python exp/exp012/train.py`, with the real config of exp001 on a small task; then `python submit.py`."""
    rows = small_table(36)
    write_task(task_folder, rows[:30], rows[30:])
    for command in (["exp/exp001/train.py", "--jobs", "1"], ["submit.py", "--exps", "001"]):
        arguments = [sys.executable, str(ROOT / command[0]), *command[1:], *where]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(tmp_path / "outputs" / "small" / "submission.csv")) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "abacus"], "--device abacus: torch cannot use it"),
        (["--data", "nowhere"], "task.toml is missing"),
        (["--folds", "11"], "^exp001: there is no fold 11"),
    ],
)
def test_a_wrong_argument_is_one_message(
    task_folder: Path, where: list[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        train_main(EXPERIMENTS / "exp001", [*where, *arguments])


def test_every_experiment_has_a_config_the_same_train_py_and_a_row_in_the_ledger_once_published() -> None:
    template, ledger = (EXPERIMENTS / "exp001" / "train.py").read_text(), (EXPERIMENTS / "README.md").read_text()
    for path in sorted(EXPERIMENTS.glob("exp[0-9][0-9][0-9]")):
        assert isinstance(load_config(path), ExperimentConfig), path
        assert (path / "train.py").read_text() == template.replace("exp001", path.name), path
        is_published = (path / "results").is_dir()
        assert (f"\n|{path.name.removeprefix('exp')}|" in ledger) == is_published, path


def test_published_metrics_are_those_of_the_published_rows() -> None:
    train = list(pd.read_csv(ROOT / "input/flla/train.csv.gz", usecols=["id"])["id"])
    sample = list(pd.read_csv(ROOT / "input/flla/sample_submission.csv")["id"])
    ledger = (EXPERIMENTS / "README.md").read_text()
    for path in (path.parent for path in sorted(EXPERIMENTS.glob("exp*/results/metrics.json"))):
        metrics = json.loads((path / "metrics.json").read_text())
        oof, test = pd.read_csv(path / "oof.csv.gz"), pd.read_csv(path / "test.csv.gz")
        assert list(oof["id"]) == train and list(test["id"]) == sample, path
        error = np.abs(oof["e_form"] - oof["e_form_pred"])
        assert metrics["oof_mae"] == pytest.approx(error.mean(), abs=1e-9), path
        np.testing.assert_allclose(metrics["fold_maes"], error.groupby(oof["fold"]).mean(), atol=1e-9, err_msg=str(path))
        of_folds = test.filter(like="fold_").mean(axis=1)
        np.testing.assert_allclose(test["e_form_pred"], of_folds, atol=1e-9, err_msg=str(path))
        row = next(line for line in ledger.splitlines() if line.startswith(f"|{path.parent.name.removeprefix('exp')}|"))
        assert f"{metrics['oof_mae']:.4f}" in row, path
