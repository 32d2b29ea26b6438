"""Laws of tasks with several targets."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import GBDT, run, small_table

import submit
from exp import check_data, compare, publish, report
from src.config import BlendConfig
from src.data.export import TARGET, write_task
from src.data.load import load_task_data
from src.data.table import read_table
from src.data.task import read_tasks
from src.predict import Predictor
from src.results import ledger, predictions
from src.results.folder import NO_TEST
from src.results.submission import blend_target
from src.runs import train as training
from src.runs import verify as verification
from src.runs.train import main as train_main
from src.runs.verify import verdict
from src.storage.files import write_csv

GAP = "band gap"
CONFIG = """from src.config import *

CONFIG = ExperimentConfig(
    learner=GbdtConfig(features=("fractions",), n_trees=20, min_child_samples=2), folds=FoldConfig(n_folds=4)
)
"""
OWN_FILES = ("oof.csv", "test.csv", "fold_1/normalizer.json")


def gaps(rows: pd.DataFrame) -> np.ndarray:
    """A second target: positive, and in another order than the first."""
    return 3 + np.sin(40 * rows[TARGET].to_numpy())


def two_targets(folder: Path) -> Path:
    """Write a task of 40 training and 6 test crystals with two targets."""
    rows = small_table(46)
    rows[GAP] = gaps(rows)
    train, test = rows[:40], rows[40:]
    write_task(folder, train, test)
    write_csv(folder / "test.csv.gz", test.drop(columns=[TARGET, GAP]))
    write_csv(folder / "test_labels.csv.gz", test[["id", TARGET, GAP]])
    write_csv(folder / "sample_submission.csv", test[["id"]].assign(**{GAP: 0.0, TARGET: 0.0}))
    change(folder, f'target_column = "{TARGET}"', f'targets = ["{TARGET}", "{GAP}"]')
    change(folder, 'unit = "eV/atom"', 'unit = ["eV/atom", "eV"]')
    return folder


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "task.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def with_one(both: Path, column: str, unit: str) -> Path:
    """Write a task with the same files and one of the targets."""
    folder = both.parent / column.split()[0]
    shutil.copytree(both, folder)
    change(folder, f'targets = ["{TARGET}", "{GAP}"]', f'target_column = "{column}"')
    change(folder, '["eV/atom", "eV"]', f'"{unit}"')
    return folder


@pytest.fixture
def both(tmp_path: Path) -> Path:
    return two_targets(tmp_path / "both")


def experiment(root: Path) -> Path:
    folder = root / "exp" / "exp001"
    folder.mkdir(parents=True)
    (folder / "config.py").write_text(CONFIG)
    return folder


@pytest.fixture
def train(tmp_path: Path, outputs: Path) -> Callable[..., Path]:
    """Train exp001, a small LightGBM, by the command; return the outputs of the task."""
    folder = experiment(tmp_path)

    def run(task: Path, *arguments: str) -> Path:
        train_main(folder, ["--data", str(task), "--outputs", str(outputs), "--jobs", "1", *arguments])
        return outputs / task.name

    return run


def contents(run: Path) -> list[bytes]:
    return [(run / name).read_bytes() for name in OWN_FILES]


def test_the_results_of_a_target_are_those_of_a_task_with_this_target_alone(both: Path, train) -> None:
    several = train(both)
    for column, unit in ((TARGET, "eV/atom"), (GAP, "eV")):
        single = train(with_one(both, column, unit))
        assert contents(several / column / "exp001") == contents(single / "exp001")
        metrics = [json.loads((run / "exp001/metrics.json").read_text()) for run in (several / column, single)]
        assert metrics[0]["data"] == metrics[1]["data"] and metrics[0]["fold_maes"] == metrics[1]["fold_maes"]


def test_a_target_has_no_influence_on_another(both: Path, train, outputs: Path) -> None:
    before = contents(train(both) / GAP / "exp001")
    shutil.rmtree(outputs)
    table = pd.read_csv(both / "train.csv.gz", float_precision="round_trip")
    table[TARGET] = np.random.default_rng(1).permutation(table[TARGET])
    write_csv(both / "train.csv.gz", table)
    assert contents(train(both, "--target", GAP) / GAP / "exp001") == before
    assert not (outputs / both.name / TARGET).exists()


def test_tables_and_features_are_made_once_for_all_targets_and_folds_for_each(both: Path, train) -> None:
    runs = train(both)
    assert len(list((runs / "cache").glob("crystals-*"))) == 2  # training and test
    made = sorted(path.name for path in (runs / "cache").iterdir())
    train(both, "--target", GAP)
    assert sorted(path.name for path in (runs / "cache").iterdir()) == made
    folds = [next((runs / column / "folds").iterdir()).read_bytes() for column in (TARGET, GAP)]
    assert folds[0] != folds[1]


def test_a_row_is_bad_if_any_of_its_targets_is_and_the_message_names_the_column(both: Path, train) -> None:
    table = pd.read_csv(both / "train.csv.gz", dtype=str)
    table.loc[3, GAP] = "unknown"
    table.to_csv(both / "train.csv.gz", index=False)
    with pytest.raises(SystemExit, match=r"train\.csv\.gz: 1 bad rows\n  record 5, 'x-3': 'band gap' is 'unknown', not a finite"):
        train(both, "--target", TARGET)
    runs = train(both, "--skip-bad-rows")
    for column in (TARGET, GAP):
        assert json.loads((runs / column / "exp001/metrics.json").read_text())["rows_left_out"] == ["x-3"]


def test_a_tracker_gets_the_run_of_each_target_for_a_store_of_its_own(
    both: Path, train, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple] = []
    monkeypatch.setattr(training, "find_spec", lambda name: name)
    monkeypatch.setattr(training, "track_run", lambda *given: sent.append((given[0], given[2].path, given[4])))
    runs, store = train(both, "--tracker", "mlflow"), outputs / "tracker" / "mlflow" / "both"
    assert sent == [("mlflow", runs / column / "exp001", store / column) for column in (TARGET, GAP)]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the task both/ and outputs/ in which exp001 is finished for both targets."""
    folder = tmp_path_factory.mktemp("trained")
    experiment(folder)
    task = two_targets(folder / "both")
    train_main(folder / "exp/exp001", ["--data", str(task), "--outputs", str(folder / "outputs"), "--jobs", "1"])
    return folder


@pytest.fixture
def finished(both: Path, trained: Path, outputs: Path) -> list[str]:
    """The arguments of commands on a copy of it."""
    shutil.copytree(trained / "outputs", outputs)
    return ["--data", str(both), "--outputs", str(outputs)]


def oof_maes(outputs: Path) -> list[float]:
    return [json.loads((outputs / "both" / column / "exp001/metrics.json").read_text())["oof_mae"] for column in (TARGET, GAP)]


def test_the_score_is_the_mean_over_targets(finished: list[str], outputs: Path, both: Path, capsys) -> None:
    mean = np.mean(oof_maes(outputs))
    submit.main(["--exps", "001", *finished])
    assert capsys.readouterr().out.splitlines()[-1] == f"mean over 2 targets: MAE {mean:.4f} (nested OOF)"
    assert list(pd.read_csv(outputs / "both/submission.csv")) == ["id", GAP, TARGET]
    compare.main(["001", "--score", *finished])
    shown = capsys.readouterr().out
    labels, test = pd.read_csv(both / "test_labels.csv.gz"), pd.read_csv(outputs / "both/submission.csv")
    test_mean = np.mean([np.abs(labels[column] - test[column]).mean() for column in (TARGET, GAP)])
    assert re.search(rf"exp001 +{mean:.4f} +{test_mean:.4f}\s*$", shown)
    assert all(f"exp001 {mae:.4f}" in " ".join(shown.split()) for mae in oof_maes(outputs))


def test_weights_are_fitted_for_each_target(finished: list[str], both: Path, outputs: Path) -> None:
    """With a second experiment that knows the gap and nothing of the energy."""
    for column in (TARGET, GAP):
        shutil.copytree(outputs / "both" / column / "exp001", outputs / "both" / column / "exp002")
    run = outputs / "both" / GAP / "exp002"
    oof = pd.read_csv(run / "oof.csv", float_precision="round_trip")
    oof.assign(e_form_pred=oof["e_form"]).to_csv(run / "oof.csv", index=False)
    (run / "metrics.json").write_text(json.dumps(json.loads((run / "metrics.json").read_text()) | {"oof_mae": 0.0}))
    tasks = read_tasks(both)
    ids = list(pd.read_csv(both / "sample_submission.csv")["id"])
    gap = blend_target(tasks[1], GAP, outputs, ["001", "002"], "weights", None, ids)
    np.testing.assert_allclose(gap.blend.weights, [0, 1], atol=1e-6)
    energy = blend_target(tasks[0], TARGET, outputs, ["001", "002"], "weights", None, ids)
    assert abs(energy.blend.weights[1] - 1) > 1e-6


def test_a_target_that_is_not_finished_is_named_with_the_command_that_trains_it(both: Path, train, outputs: Path) -> None:
    train(both, "--target", TARGET)
    message = rf"exp001 is not finished on task both/{GAP} \(0 folds are\); run: python exp/exp001/train.py --data {both}"
    with pytest.raises(SystemExit, match=f"{message} --target '{GAP}'"):
        submit.main(["--exps", "001", "--data", str(both), "--outputs", str(outputs)])
    assert not (outputs / "both/submission.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", GAP], "expected the columns .*; found .*; leave out --target, a submission has all"),
        (["--target", "gap"], "--target gap: .* has the targets formation_energy_per_atom, band gap"),
    ],
)
def test_a_submission_of_some_targets_is_refused(finished: list[str], outputs: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        submit.main(["--exps", "001", *finished, *arguments])
    assert not (outputs / "both/submission.csv").exists()


def test_labels_without_a_target_are_refused(both: Path, finished: list[str]) -> None:
    pd.read_csv(both / "test_labels.csv.gz").drop(columns=GAP).to_csv(both / "test_labels.csv.gz", index=False)
    with pytest.raises(SystemExit, match=r"test_labels\.csv\.gz: expected the columns 'id' and 'band gap', found"):
        compare.main(["001", "--score", *finished])
    sample = both / "sample_submission.csv"
    pd.read_csv(sample).drop(columns=GAP).to_csv(sample, index=False)
    with pytest.raises(SystemExit, match=rf"columns 'id' and, named .*; found \['id', '{TARGET}'\]$"):
        submit.main(["--exps", "001", *finished])


@pytest.mark.usefixtures("undrawn")
def test_looking_at_tables_and_results_takes_each_target_in_turn(finished: list[str], outputs: Path, capsys) -> None:
    check_data.main(finished)
    assert [f"both/{column}\n" in capsys.readouterr().out for column in (TARGET,)] == [True]
    report.main(["001", *finished])
    for column in (TARGET, GAP):
        assert f"<title>both: {column}" in (outputs / "both" / column / "report.html").read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="there is a page for each target"):
        report.main(["001", "--out", str(outputs / "page.html"), *finished])


def test_a_prediction_is_of_one_target(finished: list[str], both: Path, outputs: Path) -> None:
    crystals = read_table(both / "test.csv.gz", read_tasks(both)[1], has_target=False).crystals
    found = Predictor.load("001", task=both, target=GAP, outputs=outputs).predict([crystals[i] for i in range(len(crystals))])
    expected = pd.read_csv(outputs / "both" / GAP / "exp001/test.csv", float_precision="round_trip")["e_form_pred"]
    np.testing.assert_allclose(found["prediction"], expected, rtol=1e-12)
    with pytest.raises(ValueError, match="has several targets; choose one with --target"):
        Predictor.load("001", task=both, outputs=outputs)


def test_an_ensemble_blends_the_members_of_its_target(both: Path, finished: list[str], outputs: Path) -> None:
    for column in (TARGET, GAP):
        shutil.copytree(outputs / "both" / column / "exp001", outputs / "both" / column / "exp002")
        data = load_task_data(both, outputs, False, 1, column)
        run(data, replace(GBDT, learner=BlendConfig(("001", "002"))), "exp040")
        own = [pd.read_csv(outputs / "both" / column / name / "oof.csv")["e_form_pred"] for name in ("exp001", "exp040")]
        np.testing.assert_allclose(own[0], own[1])


@pytest.fixture
def published(finished: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder exp/exp001/results of the finished runs, published by the command."""
    folder = experiment(tmp_path)
    monkeypatch.setattr(predictions, "EXPERIMENTS", folder.parent)
    monkeypatch.setattr(verification, "EXPERIMENTS", folder.parent)
    publish.main(["001", *finished])
    return folder / "results"


def test_results_of_another_task_are_published_by_target_and_found_again(both: Path, published: Path, outputs: Path) -> None:
    for task in read_tasks(both):
        own = predictions.find_predictions("001", task, outputs)
        found = predictions.find_predictions("001", task, outputs / "nowhere")
        assert found.source == published / "both" / task.target_column
        pd.testing.assert_frame_equal(found.oof, own.oof)
        pd.testing.assert_frame_equal(found.test, own.test)
        truth = pd.read_csv(both / "test_labels.csv.gz")[task.target_column].to_numpy()
        assert (found.metrics["metric"], found.metrics["unit"]) == (task.metric, task.unit)
        assert found.metrics["test"]["mae"] == pytest.approx(np.abs(truth - own.test["e_form_pred"]).mean())


def test_a_damaged_published_file_is_restored_by_git(both: Path, published: Path, outputs: Path) -> None:
    (published / "both" / GAP / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"restore it: git checkout .*exp/exp001/results$"):
        predictions.find_predictions("001", read_tasks(both)[1], outputs / "nowhere")


def test_a_run_on_other_data_does_not_replace_published_results(published: Path, finished: list[str], outputs: Path) -> None:
    path = outputs / "both" / GAP / "exp001/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data": "0" * 16}))
    before = (published / "both" / GAP / "metrics.json").read_bytes()
    with pytest.raises(SystemExit, match="was trained on other data than the results in"):
        publish.main(["001", "--target", GAP, *finished])
    assert (published / "both" / GAP / "metrics.json").read_bytes() == before
    assert all(predictions.same_data(*keys) for keys in (("a-b", "c"), ("c", "a-b"), ("c", "c")))  # the first ones do not tell


def test_a_published_target_is_verified_on_its_own_data(both: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gap, path, seen, asked = read_tasks(both)[1], published / "both" / GAP / "metrics.json", [], []
    monkeypatch.setattr(verification, "verdict", lambda *known: seen.append(known) or verdict(*known))
    monkeypatch.setattr(
        training, "main", lambda folder, given: asked.append("--skip-bad-rows" in given) or train_main(folder, given)
    )
    agrees, text = verification.verify("001", 1, gap)
    assert agrees and text.startswith(f"exp001 on both/{GAP}, fold 1: same rows")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows_left_out": ["x"], NO_TEST: True}))
    assert verification.verify("001", 1, gap)[0] and asked == [False, True]
    (whole, again, scatter, _), (rows, own, infinite, _) = seen
    assert (whole.test.name, again.test.name, rows.test, own.test) == ("fold_1", "e_form_pred", None, None)
    assert 0 < scatter < infinite == np.inf
    write_csv(both / "test.csv.gz", pd.read_csv(both / "test.csv.gz")[1:])
    with pytest.raises(ValueError, match="was trained on other data than the tables in"):
        verification.verify("001", 1, gap)


def test_the_ledger_gets_a_row_for_each_target_of_another_task(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "experiment_folders", lambda: [published.parent])
    path = published / "both" / GAP / "metrics.json"
    metrics = json.loads(path.read_text())
    for lower_bound in ({}, {"resumed_folds": [1]}, {"gpus": ["NVIDIA H100 80GB HBM3"]}):
        path.write_text(json.dumps(metrics | {"resumed_folds": []} | lower_bound))
        rows = ledger.updated_ledger().set_index(["task", "target"]).loc["both"]
        assert list(rows.index) == [GAP, TARGET] and set(rows["number"]) == {"001"}
        row = rows.loc[GAP]
        assert (row["unit"], float(row["oof"]), float(row["test"])) == ("eV", metrics["oof_mae"], metrics["test"]["mae"])
        assert ledger.seconds(row) == f"{'≥ ' if lower_bound else ''}{metrics['cpu_seconds']:,.0f}"
