"""Laws of matbench's tasks: official folds, the two protocols, and the record in the format of the package matbench 0.6."""

import gzip
import hashlib
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS, small_table
from sklearn.metrics import max_error, mean_squared_error

from exp import matbench as command
from input.prepare_matminer import prepare_matbench
from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig
from src.config.catalogue import load_config
from src.data.export import MATBENCH, OF_CLASSES, TARGET, read_official_folds, row_ids, target_of, write_official_fold, write_task
from src.data.rows import read_rows
from src.data.task import Task, read_task
from src.paths import EXPERIMENTS
from src.results import ledger, matbench
from src.results.matbench import (
    BOARDS,
    OF_DECISIONS,
    Record,
    board,
    fold_record,
    own_row,
    place,
    publish_record,
    read_record,
    record,
    write_record,
)
from src.results.metrics import best_threshold
from src.results.predictions import find_predictions
from src.results.submission import How, blend_parts
from src.runs import benchmark as benchmarks
from src.runs.benchmark import run_benchmark
from src.runs.launch import Launcher

NAME, COLUMN = "matbench_phonons", "last phdos peak"
IDS = [f"mb-phonons-{i:02d}" for i in range(1, 41)]
FOLD = np.arange(40) % 2
GBDT = ExperimentConfig(GbdtConfig(features=("fractions",), n_trees=8, min_child_samples=2), FoldConfig(n_folds=3, seed=1))
N_ROWS = {
    "matbench_phonons": 1265,
    "matbench_jdft2d": 636,
    "matbench_steels": 312,
    "matbench_expt_gap": 4604,
    "matbench_expt_is_metal": 4921,
    "matbench_glass": 5680,
}  # of tasks with published records
CONFIGS = {"exp001": GBDT, "exp003": replace(GBDT, learner=replace(GBDT.learner, n_trees=60, num_leaves=3, learning_rate=0.3))}


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task of 40 crystals in two official folds."""
    rows = small_table(40).rename(columns={TARGET: COLUMN}).assign(id=IDS)
    write_task(tmp_path / NAME, rows, None, MATBENCH[NAME], FOLD)
    return read_task(tmp_path / NAME)


def benchmark(task: Task, protocol: str, how: How = "mean", outputs: str = "outputs", **changed: object) -> str:
    given = {"configs": CONFIGS if protocol == "inner" else {"exp001": GBDT}, "device": "cpu", "publish": False} | changed
    where = {"data": task.folder, "outputs": task.folder.parent / outputs, "launcher": Launcher(n_jobs=1)}
    return run_benchmark(inner=protocol == "inner", how=how, **where, **given)


def predicted(path: Path) -> dict[str, dict[str, float]]:
    return {fold: result["data"] for fold, result in read_record(path)["tasks"][NAME]["results"].items()}


def splits(ids: Sequence[str], fold: np.ndarray) -> dict:
    parts = {"test": lambda k: fold == k, "train": lambda k: fold != k}
    return {f"fold_{k}": {part: [*np.array(ids)[rows(k)]] for part, rows in parts.items()} for k in range(fold.max() + 1)}


def write_folds(path: Path, content: dict) -> Path:
    text = json.dumps(content).encode()
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("matbench/matbench_v0.1_validation.json", text)
    else:
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("file", ["matbench-0.6-py3-none-any.whl", "validation.json", "phonons_folds.json.gz"])
def test_a_local_file_of_matbench_becomes_a_task_with_its_official_folds(tmp_path: Path, file: str) -> None:
    from matminer.utils.io import store_dataframe_as_json

    structures = [crystal.to_structure() for crystal in CRYSTALS.values()]
    frame = pd.DataFrame({"structure": structures, COLUMN: np.linspace(100, 800, 8)})
    store_dataframe_as_json(frame, str(tmp_path / "data.json.gz"), compression="gz")
    own = splits([f"mb-phonons-{i}" for i in range(1, 9)], np.array([1, 0, 2, 0, 1, 2, 0, 1]))
    content = {"splits": own if "phonons" in file else {"matbench_steels": {}, NAME: own}}
    folds = write_folds(tmp_path / file, content)
    said = prepare_matbench(NAME, tmp_path / "data.json.gz", folds, tmp_path / NAME)
    assert said.endswith("8 crystals in 3 official folds")
    task = read_task(tmp_path / NAME)
    assert (task.target_column, task.unit, task.metric, task.has_test) == (COLUMN, "1/cm", "mae", False)
    rows = list(read_rows(task.path("train")))
    assert [(row["id"], float(row[COLUMN])) for row in rows] == [(f"mb-phonons-{i}", 100.0 * i) for i in range(1, 9)]
    assert [int(row["fold"]) for row in read_rows(task.path("folds"))] == [1, 0, 2, 0, 1, 2, 0, 1]


def test_ids_are_as_wide_as_the_number_of_rows() -> None:
    assert row_ids(NAME, 1265)[::1264] == ["mb-phonons-0001", "mb-phonons-1265"]
    assert row_ids("matbench_mp_e_form", 100)[-1] == "mb-mp-e-form-100"


def test_what_is_no_task_of_matbench_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mine is not among matbench's tasks, .*--target"):
        target_of("mine")
    units = {"eV", "eV/atom", "eV/unit cell", "meV/atom", "log10(GPa)", "1/cm", "MPa", "unitless", "probability"}
    assert {target.unit for target in MATBENCH.values()} == units


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s["fold_0"]["test"].append("mb-phonons-99"), "fold_0 .* does not split the 40 rows"),
        (lambda s: s["fold_1"]["train"].append(s["fold_1"]["test"][0]), "fold_1 .* does not split the 40 rows"),
        (lambda s: s["fold_1"]["train"].pop(), "fold_1 .* does not split the 40 rows"),
        (lambda s: s.update(fold_1=s["fold_0"]), "the test parts .* do not have each row once"),
        (lambda s: s.pop("fold_1"), "the test parts .* do not have each row once"),
        (lambda s: s.pop("fold_0"), "no folds of matbench_phonons .KeyError: 'fold_0'"),
    ],
)
def test_official_folds_that_are_no_partition_are_refused(tmp_path: Path, damage, message: str) -> None:
    own = splits(IDS, FOLD)
    damage(own)
    path = write_folds(tmp_path / "folds.json", {"splits": own})
    with pytest.raises(ValueError, match=rf"folds.json: .*{message}.*download it: pip download --no-deps matbench==0.6"):
        read_official_folds(path, NAME, IDS)


def test_the_task_of_an_official_fold_has_its_rows_as_they_are_and_no_target_of_its_test_part(task: Task, tmp_path: Path) -> None:
    write_official_fold(task, FOLD, 0, tmp_path / "fold_0")
    inner = read_task(tmp_path / "fold_0")
    rows = {row["id"]: row for row in read_rows(task.path("train"))}
    assert list(read_rows(inner.path("train"))) == [rows[own] for own in np.array(IDS)[FOLD != 0]]
    without = [{key: text for key, text in rows[own].items() if key != COLUMN} for own in np.array(IDS)[FOLD == 0]]
    assert list(read_rows(inner.path("test"))) == without
    assert (inner.target, inner.metric) == (task.target, task.metric)


def test_the_plain_protocol_records_one_model_for_each_official_fold(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matbench, "EXPERIMENTS", task.folder.parent / "exp")
    published = task.folder.parent / f"exp/exp001/results/{NAME}/plain.json.gz"
    assert benchmark(task, "plain") and not published.exists()
    assert benchmark(task, "plain", publish=True) and published.exists()
    outputs = task.folder.parent / "outputs"
    oof = find_predictions("001", task, outputs).oof
    expected = {f"fold_{k}": dict(zip(own["id"], own["e_form_pred"], strict=True)) for k, own in oof.groupby("fold")}
    assert predicted(outputs / NAME / "matbench" / "plain.json") == expected
    assert (outputs / NAME / "matbench" / "log.txt").is_file()


@pytest.mark.parametrize(("protocol", "on_logits"), [("plain", False), ("inner", False), ("inner", True)])
def test_classes_are_told_apart_at_one_half_or_at_the_best_threshold_of_the_inner_rows(
    tmp_path: Path, protocol: str, on_logits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, rows = "matbench_mp_is_metal", small_table(40).assign(id=IDS)
    rows["is_metal"] = np.where(rows.pop(TARGET) < -0.6, "True", "False")
    write_task(tmp_path / name, rows, None, MATBENCH[name], FOLD, metric="roc_auc", classes=("False", "True"))
    monkeypatch.setattr(benchmarks, "blend_parts", lambda *known: replace(blend_parts(*known), on_logits=on_logits))
    learners = {name: replace(config.learner, objective="binary") for name, config in CONFIGS.items()}
    configs = {name: replace(GBDT, learner=learner, target=TargetConfig("classes")) for name, learner in learners.items()}
    said, outputs = benchmark(read_task(tmp_path / name), protocol, [1, 3], configs=configs), tmp_path / "outputs" / name
    found = read_record(outputs / f"matbench/{protocol}-001-003-weighted.json")["tasks"][name]["results"]
    for k in (0, 1):
        own = found[f"fold_{k}"]["parameters"]
        assert own["weights"] == {"exp001": 0.25, "exp003": 0.75} | ({"on_logits": 1.0} if on_logits else {})
        folder = outputs / f"official/fold_{k}" if protocol == "inner" else outputs
        first, second = (pd.read_csv(folder / run / "oof.csv") for run in configs)
        pred = 0.25 * first["e_form_pred"] + 0.75 * second["e_form_pred"]
        best = best_threshold("balanced_accuracy", first["e_form"].to_numpy(), pred.to_numpy())
        assert own["threshold"] == (best if protocol == "inner" else 0.5) and 0 < best != 0.5
    assert f"**exp001 + exp003 (1, 3){', 3 inner folds' * (protocol == 'inner')}**" in said


def test_the_inner_protocol_records_the_blend_of_the_means_over_inner_folds(task: Task) -> None:
    """Its weights are those of the smallest error on all inner out-of-fold rows."""
    said = benchmark(task, "inner", how="weights")
    outputs, shares = task.folder.parent / "outputs" / NAME, np.linspace(0, 1, 10_001)
    found = predicted(outputs / "matbench" / "inner-001-003-weights.json")
    for k in (0, 1):
        runs = [outputs / f"official/fold_{k}/{name}" for name in CONFIGS]
        first, second = (pd.read_csv(run / "test.csv").set_index("id").filter(like="fold_").mean(axis=1) for run in runs)
        own, other = (pd.read_csv(run / "oof.csv") for run in runs)
        pred = np.outer(own["e_form_pred"], shares) + np.outer(other["e_form_pred"], 1 - shares)
        share = shares[np.abs(pred - own[["e_form"]].to_numpy()).mean(axis=0).argmin()]
        assert list(found[f"fold_{k}"]) == [*np.array(IDS)[k == FOLD]]
        np.testing.assert_allclose(pd.Series(found[f"fold_{k}"]), share * first + (1 - share) * second, atol=1e-4)
    assert "| **exp001 + exp003 (weights), 3 inner folds** |" in said


def test_neither_models_nor_weights_see_the_official_test_part(task: Task) -> None:
    benchmark(task, "inner", how="weights")
    rows = pd.DataFrame(read_rows(task.path("train")))
    rows.loc[FOLD == 0, COLUMN] = rows.loc[FOLD == 0, COLUMN].astype(float) * 7 + 100
    rows.to_csv(task.path("train"), index=False)
    benchmark(task, "inner", how="weights", outputs="again")
    folder = task.folder.parent
    before, after = (read_record(folder / name / NAME / "matbench/inner-001-003-weights.json") for name in ("outputs", "again"))
    before, after = (content["tasks"][NAME]["results"]["fold_0"] for content in (before, after))
    assert before["data"] == after["data"]
    assert before["parameters"]["weights"] == after["parameters"]["weights"]
    assert before["scores"] != after["scores"]


def test_what_is_finished_is_taken_as_it_is(task: Task) -> None:
    said = benchmark(task, "inner")
    trained = {path: path.stat().st_mtime_ns for path in task.folder.parent.rglob("fold_*/exp*/fold_*/metrics.json")}
    assert len(trained) == 2 * 2 * 3
    assert benchmark(task, "inner") == said
    content = read_record(task.folder.parent / "outputs" / NAME / "matbench" / "inner-001-003-mean.json")
    assert sorted(check_as_matbench_does(content, n_folds=2)) == IDS
    assert {path: path.stat().st_mtime_ns for path in trained} == trained


def test_fitted_weights_without_inner_folds_and_unknown_devices_are_refused_before_anything_is_written(task: Task) -> None:
    with pytest.raises(ValueError, match=r"--blend fits weights to .* official test rows; add --inner or give --weights"):
        benchmark(task, "plain", how="weights")
    with pytest.raises(ValueError, match="1 weights for 2 experiments"):
        benchmark(task, "inner", how=[1.0])
    with pytest.raises(ValueError, match="--device tpu: torch cannot use it here"):
        benchmark(task, "plain", device="tpu")
    assert not (task.folder.parent / "outputs").exists()


def test_other_tasks_and_sealed_experiments_are_refused(task: Task, capsys: pytest.CaptureFixture) -> None:
    path = task.folder / "task.toml"
    path.write_text(path.read_text().replace('folds = "folds.csv"', ""))
    with pytest.raises(ValueError, match=r"task.toml: \[files\] names no folds; write it with input/prepare_matminer.py"):
        benchmark(task, "plain")
    task.folder.rename(task.folder.with_name("small"))
    with pytest.raises(SystemExit, match=r"^matbench: small is not among matbench's"):
        command.main(["001", "--data", str(task.folder.with_name("small")), "--outputs", str(task.folder.parent)])
    with pytest.raises(FileNotFoundError, match="exp027 is sealed"):
        load_config(EXPERIMENTS / "exp027")


def result(n: int, first: int = 1, seed: int = 0, off: float | None = None, cpu_seconds: float = 12.5) -> Record:
    """The record of a fold whose predictions are all off by as much, or by noise."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(100, 900, n)
    ids = [f"mb-phonons-{i:04d}" for i in range(first, first + n)]
    pred = target + (rng.normal(0, 30, n) if off is None else off)
    return fold_record(ids, target, pred, {"exp001": 0.25, "exp003": 0.75}, cpu_seconds)


def test_the_scores_are_those_of_matbench() -> None:
    target, pred = np.array([100.0, 200.0, 1e-6, -50.0]), np.array([110.0, 190.0, 3.0, -60.0])
    found = fold_record(list("abcd"), target, pred, {}, 0.0)["scores"]
    assert found["mae"] == np.mean([10, 10, 3 - 1e-6, 10])
    assert found["rmse"] == math.sqrt(mean_squared_error(target, pred))
    assert found["mape"] == pytest.approx(np.mean([0.1, 0.05, 0.2]))  # targets within 1e-5 of zero are left out
    assert found["max_error"] == max_error(target, pred)


def check_as_matbench_does(content: dict, n_folds: int = 5) -> list[str]:
    """Assert what `from_file` of matbench 0.6 demands of a record; return all ids. See its bench.py, task.py and util.py."""
    keys = {"@module", "@class", "version", "benchmark_name", "tasks", "user_metadata", "datestamp", "hash"}
    assert set(content) == keys
    assert (content["@module"], content["@class"]) == ("matbench.bench", "MatbenchBenchmark")
    assert (content["version"], content["benchmark_name"]) == ("0.6", "matbench_v0.1")
    rest = {key: value for key, value in content.items() if key != "hash"}
    assert content["hash"] == hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    ids = []
    for name, task in content["tasks"].items():
        assert set(task) == {"@module", "@class", "dataset_name", "results", "benchmark_name"}
        assert (task["@module"], task["@class"]) == ("matbench.task", "MatbenchTask")
        assert (task["dataset_name"], task["benchmark_name"]) == (name, "matbench_v0.1")
        assert list(task["results"]) == [f"fold_{k}" for k in range(n_folds)]
        for own in task["results"].values():
            assert set(own) == {"scores", "data", "parameters", "uncertainty"} and own["uncertainty"] is None
            scores, kind = (
                ({*OF_DECISIONS, "rocauc"}, bool) if name in OF_CLASSES else ({"mae", "rmse", "mape", "max_error"}, float)
            )
            assert set(own["scores"]) == scores
            assert all(type(value) is float and math.isfinite(value) for value in own["scores"].values())
            assert all(type(value) is kind and math.isfinite(value) for value in own["data"].values())
            ids += own["data"]
    assert len(set(ids)) == len(ids)
    return ids


def test_a_record_has_the_form_that_matbench_accepts() -> None:
    folds = [result(20, 1 + 20 * k, seed=k) for k in range(5)]
    content = json.loads(json.dumps(record(NAME, folds, {"b": {"y": 1, "x": [3, 2]}, "a": "é"})))
    assert check_as_matbench_does(content) == [own for fold in folds for own in fold["data"]]


def test_our_row_has_matbenchs_statistics_over_folds() -> None:
    folds = [result(20, seed=k) for k in range(5)]
    own = own_row(record(NAME, folds, {"algorithm": "ours", "cpu_seconds": 62.5}))
    scores = pd.DataFrame([fold["scores"] for fold in folds])
    expected = scores["mae"].mean(), scores["mae"].std(ddof=0), scores["rmse"].mean(), scores["max_error"].max()
    assert (own["algorithm"], own["cpu_seconds"]) == ("ours", 62.5)
    assert [own[name] for name in ("score", "sd", "rmse", "max_error")] == pytest.approx(expected)


def test_our_rows_stand_in_bold_at_their_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(matbench, "EXPERIMENTS", tmp_path)
    ours = record(NAME, [result(1, off=30)], {"algorithm": "ours", "cpu_seconds": 1234.0})
    older = record(NAME, [result(1, off=70)], {"algorithm": "older", "cpu_seconds": 1.0})
    stale = record(NAME, [result(1, off=90)], {"algorithm": "ours", "cpu_seconds": 1.0})
    write_record(tmp_path / "exp001/results" / NAME / "plain.json.gz", older)
    write_record(tmp_path / "exp003/results" / NAME / "plain.json.gz", stale)
    table = board(NAME, "1/cm", ours)
    names = list(table["algorithm"])
    assert names[0] == "JMP-L, pretrained" and names[6:8] == ["TabPFN, Magpie", "**ours**"] and names[-1] == "**older**"
    assert place(ours) == "7 of 13" and own_row(ours)["score"] == pytest.approx(30)  # among those without pretraining
    assert list(table.iloc[7]) == ["**ours**", "**30.00**", "**0.00**", "**30.00**", "**30.0**", "**1234**"]
    for score, text in ((1.0, "1.00"), (0.99, "0.9900")):
        others = pd.DataFrame({"algorithm": ["best"], "score": [score], "pretrained": [""]})
        monkeypatch.setattr(matbench, "rivals", lambda name, others=others: others)
        assert board(NAME, "1/cm").iloc[0, 1] == text


def test_the_ledger_gives_a_record_the_unit_of_its_task(tmp_path: Path) -> None:
    path = tmp_path / "matbench_steels" / "plain.json.gz"
    write_record(path, record("matbench_steels", [result(1, off=30)], {"algorithm": "ours", "cpu_seconds": 1.0}))
    assert (ledger._record(path)["unit"], ledger._record(path)["oof"]) == ("MPa", pytest.approx(30))


def test_a_published_record_is_replaced_only_by_other_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matbench, "EXPERIMENTS", tmp_path)
    path, seconds = tmp_path / "plain.json", iter([12.5, 99.0, 99.0])
    published = tmp_path / "exp001" / "results" / NAME / "plain.json.gz"
    stored = []
    for seed in (0, 0, 1):
        write_record(path, record(NAME, [result(20, seed=seed, cpu_seconds=next(seconds))], {}))
        assert publish_record(path, "exp001") == published
        stored.append(published.read_bytes())
    assert stored[0] == stored[1] != stored[2]
    assert read_record(published) == read_record(path)


@pytest.mark.parametrize(
    "path",
    [path for name in MATBENCH for path in sorted(EXPERIMENTS.glob(f"*/results/{name}/*.json.gz"))],
    ids=lambda path: f"{path.parents[2].name}-{path.name}",
)
def test_a_published_record_is_whole_and_agrees_with_itself(path: Path) -> None:
    """The targets are not in the repository, so scores can only be checked against each other."""
    content = read_record(path)
    (task,) = content["tasks"].values()
    assert task["dataset_name"] == path.parent.name
    ids = check_as_matbench_does(content)
    assert sorted(ids) == row_ids(path.parent.name, len(ids))
    assert len(ids) == N_ROWS[path.parent.name]
    parts = [own["parameters"] for own in task["results"].values()]
    assert content["user_metadata"]["cpu_seconds"] == pytest.approx(sum(part["cpu_seconds"] for part in parts))
    for own in task["results"].values():
        if path.parents[2].name != BOARDS:
            assert set(own["parameters"]["weights"]) == set(content["user_metadata"]["configs"])
            assert sum(own["parameters"]["weights"].values()) == pytest.approx(1)
            assert next(iter(content["user_metadata"]["configs"])) == path.parents[2].name
        scores, about = own["scores"], own["parameters"]
        if task["dataset_name"] in OF_CLASSES:
            assert 0.5 < scores["rocauc"] == scores["balanced_accuracy"] < about["roc_auc"] < 1
            assert [chance > about["threshold"] for chance in about["probabilities"]] == list(own["data"].values())
        else:
            assert scores["mae"] < scores["rmse"] < scores["max_error"]
