"""Laws of further columns: what is fitted to them sees training rows alone, and odd values are no obstacle."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS, FOLDS, NETWORK, TREES, load, run, small_table

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, GbdtEnsembleConfig, TargetConfig
from src.data.export import write_task
from src.data.load import TaskData, load_folds, load_task_data
from src.data.table import Crystals, CrystalTable
from src.data.task import ColumnNames
from src.features.columns import ColumnEncoder, data_key
from src.learners.learner import Learner, load_learner, make_learner
from src.predict import Predictor, predict_files

WITH_COLUMNS = replace(TREES, features=("fractions", "columns"))
CONFIGS = {
    "trees": WITH_COLUMNS,
    "mean of trees": GbdtEnsembleConfig(parts=(TREES, WITH_COLUMNS), outlier_fraction=0.1),
    "network": replace(NETWORK, training=replace(NETWORK.training, n_epochs=1), global_features=("columns",)),
}
EXACT = {"trees": 0.0, "mean of trees": 0.0, "network": 1e-5}
NUMBERS = {"trees": "001", "network": "010"}
NAMES = ColumnNames(("pressure", "age"), ("origin",))
N = 40
Fitted = Callable[[str], tuple[Learner, Path]]
PlainRun = Callable[[str], dict[str, bytes]]
each_learner = pytest.mark.parametrize("name", CONFIGS, ids=lambda name: name.replace(" ", "-"))


def column_rows(n: int) -> pd.DataFrame:
    """Return n rows of text; every seventh field is empty."""
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({
        "pressure": rng.normal(3, 2, n).round(3).astype(str),
        "age": rng.integers(1, 9, n).astype(str),
        "origin": rng.choice(["mine", "furnace", "theory"], n),
    })  # fmt: skip
    for i, name in enumerate(rows):
        rows.loc[i::7, name] = ""
    return rows


def parsed(rows: pd.DataFrame, names: ColumnNames = NAMES) -> pd.DataFrame:
    """Return rows of text as pandas understands them."""
    numbers = rows[list(names.numeric)].apply(pd.to_numeric).astype(float)
    return pd.concat([numbers, rows[list(names.categorical)]], axis=1).reset_index(drop=True)


COLUMNS = parsed(column_rows(N))
TARGET = np.random.default_rng(3).normal(size=N) + COLUMNS["pressure"].fillna(0).to_numpy()
FEW = [CRYSTALS[name] for name in ("rock salt", "rutile", "diamond", "perovskite")]


def fit(name: str, folder: Path, columns: pd.DataFrame = COLUMNS) -> Learner:
    """Return a learner that was fitted to N crystals with these columns."""
    folder.mkdir(exist_ok=True)
    learner = make_learner(CONFIGS[name])
    learner.fit(inputs_of(learner, folder, columns), TARGET, folder)
    return learner


def inputs_of(learner: Learner, folder: Path, columns: pd.DataFrame) -> object:
    """Return the inputs of as many crystals as there are rows; those of the same numbers are the same."""
    crystals = Crystals.from_list([FEW[i % len(FEW)] for i in range(len(columns))], columns)
    return learner.prepare_inputs(crystals, f"{len(columns)}", folder / "cache", 1)[np.arange(len(columns))]


def predict(learner: Learner, folder: Path, columns: pd.DataFrame) -> np.ndarray:
    return learner.predict(inputs_of(learner, folder, columns))


def column_task(folder: Path, change: Callable[[pd.DataFrame], object] = lambda rows: None) -> Path:
    """Write a task of N training and 6 test crystals with further columns, which `change` may alter by id."""
    rows = small_table(N + 6)
    columns = column_rows(N + 6).set_index(rows["id"])
    change(columns)
    rows = rows.join(columns, on="id")
    write_task(folder / "small", rows[:N], rows[N:])
    path = folder / "small" / "task.toml"
    named = 'numeric_columns = ["pressure", "age"]\ncategorical_columns = ["origin"]\n\n[files]'
    path.write_text(path.read_text().replace("[files]", named))
    return folder / "small"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """A function that returns a learner, fitted to COLUMNS once, and its folder."""

    @cache
    def learner_and_folder(name: str) -> tuple[Learner, Path]:
        folder = tmp_path_factory.mktemp("fitted")
        return fit(name, folder), folder

    return learner_and_folder


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> PlainRun:
    """A function that returns what `train` does on the task as it is, trained once."""
    return cache(lambda name: train(tmp_path_factory.mktemp("runs") / "plain", name))


def train(folder: Path, name: str, change: Callable[[pd.DataFrame], object] = lambda rows: None) -> dict[str, bytes]:
    """Train fold 0 on a task in a folder; return what was fitted, by file."""
    folder.mkdir()
    config = ExperimentConfig(CONFIGS[name], FOLDS, TargetConfig("standardise"))
    run(column_task(folder, change), config, folds=[0])
    fold = folder / "outputs" / "small" / "exp001" / "fold_0"
    seen = {"history.csv", "valid.csv", "test.csv", "metrics.json", ".lock"}
    return {
        str(path.relative_to(fold)): path.read_bytes() for path in fold.rglob("*") if path.is_file() and path.name not in seen
    }


@pytest.fixture
def unseen_ids(tmp_path: Path) -> list[str]:
    """Ids of fold 0 and of the test table."""
    data = load(column_task(tmp_path))
    return [*data.train.ids[load_folds(data, FOLDS) == 0], *data.test.ids]


@each_learner
def test_columns_of_validation_and_test_rows_change_nothing_that_is_fitted(
    name: str, tmp_path: Path, plain_run: PlainRun, unseen_ids: list[str]
) -> None:
    def change(columns: pd.DataFrame) -> None:
        columns.loc[unseen_ids[::2]] = ["1e6", "", "another world"]
        columns.loc[unseen_ids[1::2]] = ["", "-77", "mine"]

    assert train(tmp_path / "changed", name, change) == plain_run(name)


@each_learner
def test_columns_of_training_rows_change_what_is_fitted(
    name: str, tmp_path: Path, plain_run: PlainRun, unseen_ids: list[str]
) -> None:
    def change(columns: pd.DataFrame) -> None:
        row = columns.index.difference(unseen_ids)[0]
        columns.loc[row] = ["1e6", "", "another world"]

    one, two = plain_run(name), train(tmp_path / "changed", name, change)
    assert sum(one[file] != two[file] for file in one) >= 2  # settings and weights


@each_learner
def test_the_order_of_rows_is_irrelevant_for_predictions(name: str, fitted: Fitted) -> None:
    learner, folder = fitted(name)
    inputs = inputs_of(learner, folder, COLUMNS)
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_allclose(learner.predict(inputs[order]), learner.predict(inputs)[order], rtol=0, atol=EXACT[name])


@each_learner
def test_every_field_may_be_unseen_or_missing(name: str, fitted: Fitted) -> None:
    odd = pd.DataFrame({"pressure": ["", "-1e100", "3"], "age": ["1e100", "", "3"], "origin": ["", "moon", "the moon"]})
    assert np.isfinite(predict(*fitted(name), parsed(odd))).all()


@each_learner
def test_all_categories_that_no_training_row_has_predict_the_same(name: str, fitted: Fitted) -> None:
    one, two = (predict(*fitted(name), COLUMNS.assign(origin=text)) for text in ("moon", "jupiter"))
    np.testing.assert_array_equal(one, two)


@each_learner
def test_names_of_categories_do_not_matter(name: str, fitted: Fitted, tmp_path: Path) -> None:
    renamed = COLUMNS.assign(origin=COLUMNS["origin"].map({"mine": "z", "furnace": "", "theory": "a", "": "b"}))
    plain = predict(*fitted(name), COLUMNS)
    np.testing.assert_array_equal(predict(fit(name, tmp_path, renamed), tmp_path, renamed), plain)


def test_the_unit_of_a_number_does_not_matter(fitted: Fitted, tmp_path: Path) -> None:
    name = "network"
    other = COLUMNS.assign(pressure=1000 * COLUMNS["pressure"] - 5e5)
    plain = predict(*fitted(name), COLUMNS)
    np.testing.assert_allclose(predict(fit(name, tmp_path, other), tmp_path, other), plain, rtol=0, atol=1e-5)


@each_learner
def test_constant_columns_change_nothing(name: str, fitted: Fitted, tmp_path: Path) -> None:
    constant = COLUMNS.assign(zero=0.123456789, place="here")
    plain = predict(*fitted(name), COLUMNS)
    np.testing.assert_array_equal(predict(fit(name, tmp_path, constant), tmp_path, constant), plain)


@each_learner
def test_columns_without_any_information_still_predict(name: str, tmp_path: Path) -> None:
    nothing = pd.DataFrame({"pressure": np.full(N, np.nan), "age": np.ones(N), "origin": [""] * N}, index=range(N))
    fit(name, tmp_path, nothing).save(tmp_path)
    assert np.isfinite(predict(load_learner(tmp_path), tmp_path, COLUMNS)).all()


@pytest.mark.parametrize("column", ["number", "category"])
def test_a_useful_column_helps_trees(column: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    category = rng.integers(0, 8, 300)
    target = rng.normal(size=8)[category]
    useful = target if column == "number" else category.astype(str).astype(object)
    errors = {}
    for name, values in {"useful": useful, "useless": rng.permutation(useful)}.items():
        learner = make_learner(GbdtConfig(features=("fractions", "columns"), n_trees=200))
        inputs = inputs_of(learner, tmp_path, pd.DataFrame({"x": values}))
        learner.fit(inputs[np.arange(200)], target[:200], tmp_path)
        errors[name] = np.abs(learner.predict(inputs[np.arange(200, 300)]) - target[200:]).mean()
    assert errors["useful"] < 0.25 * errors["useless"], errors


@each_learner
def test_a_saved_learner_predicts_the_same(name: str, fitted: Fitted, tmp_path: Path) -> None:
    learner, _ = fitted(name)
    learner.save(tmp_path)
    loaded = load_learner(tmp_path)
    assert loaded.columns == learner.columns == NAMES
    np.testing.assert_array_equal(predict(loaded, tmp_path, COLUMNS), predict(learner, tmp_path, COLUMNS))


@each_learner
def test_learners_of_several_folds_predict_together_what_each_predicts(name: str, fitted: Fitted, tmp_path: Path) -> None:
    learners = [fitted(name)[0], fit(name, tmp_path, COLUMNS.assign(origin="mine", pressure=COLUMNS["age"]))]
    inputs = inputs_of(learners[0], tmp_path, COLUMNS)
    each = np.stack([learner.predict(inputs)[None] for learner in learners])
    np.testing.assert_array_equal(learners[0].predict_each(learners, inputs), each)


ODD = [{"numbers": {"age": [1, 2, spread], "b": [1, 2, 3]}, "categories": {}} for spread in (-3, float("nan"))]
ODD += [{"numbers": {}, "categories": {"origin": [3]}}]
DAMAGED = [*((name, {}) for name in CONFIGS), *(("trees", {"columns": one}) for one in (*ODD, 3))]


@pytest.mark.parametrize(("name", "damage"), DAMAGED)
def test_a_damaged_encoder_is_refused(name: str, damage: dict, fitted: Fitted, tmp_path: Path) -> None:
    folder = tmp_path / "fold_0"
    folder.mkdir()
    (tmp_path / "config.json").touch()
    fitted(name)[0].save(folder)
    path = next(path for path in sorted(tmp_path.rglob("learner.json")) if '"numbers"' in path.read_text())
    settings = json.loads(path.read_text())
    del settings["columns"]
    path.write_text(json.dumps(settings | damage))
    with pytest.raises(ValueError, match=r"learner\.json is damaged .*remove the folder .*fold_0, and train\.py will train that"):
        load_learner(folder)


def test_the_roles_of_columns_are_part_of_the_data_of_those_alone_who_read_them(tmp_path: Path) -> None:
    def keys(old: str, new: str) -> tuple[str, str]:
        folder = column_task(tmp_path / "inputs")
        path = folder / "task.toml"
        path.write_text(path.read_text().replace(old, new))
        data = load_task_data(folder, tmp_path / "outputs", skip_bad_rows=False, n_jobs=1)
        return tuple(data_key(data.key, groups, data.task) for groups in (("fractions",), ("fractions", "columns")))

    before, after = keys("", ""), keys('"pressure", ', "")
    assert before[0] == after[0] and len({*before, *after}) == 3


def test_crystals_without_the_columns_are_refused(fitted: Fitted, tmp_path: Path) -> None:
    learner, folder = fitted("trees")
    with pytest.raises(ValueError, match="trained with the column 'origin'"):
        predict(learner, folder, COLUMNS.drop(columns="origin"))
    with pytest.raises(ValueError, match="these crystals have none"):
        learner.prepare_inputs(Crystals.from_list(FEW), "none", tmp_path / "cache", 1)


@each_learner
def test_a_task_without_further_columns_is_refused_before_anything_is_written(name: str, data: TaskData) -> None:
    with pytest.raises(
        ValueError, match=r"task\.toml: the group of features 'columns' needs further columns; name numeric_columns"
    ):
        run(data, ExperimentConfig(CONFIGS[name], FOLDS), folds=[0])
    assert not (data.folder / "exp001").exists()


def test_rare_categories_are_treated_as_unseen() -> None:
    texts = [str(i) for i in range(200)] + [str(i) for i in range(100)]
    encoded = ColumnEncoder.fit(pd.DataFrame({"x": texts})).scaled(pd.DataFrame({"x": texts}))
    assert encoded.shape[1] == 100
    np.testing.assert_array_equal(encoded.sum(axis=1), [1] * 100 + [0] * 100 + [1] * 100)


def test_missing_numbers_become_the_median_of_the_training_rows() -> None:
    encoder = ColumnEncoder.fit(pd.DataFrame({"x": [1.0, 2.0, 9.0, np.nan]}))
    scaled = encoder.scaled(pd.DataFrame({"x": [np.nan, 2.0, 3.5]}))[:, 0]
    assert scaled[0] == scaled[1] < 0
    assert scaled[2] == 0  # the mean of 1, 2, 9 and 2
    np.testing.assert_allclose(encoder.scaled(pd.DataFrame({"x": [1.0, 2.0, 9.0, 2.0]})).std(), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "names", [NAMES, ColumnNames(("pressure",), ()), ColumnNames((), ("origin",)), ColumnNames((), ("産/地",))]
)
def test_a_stored_table_has_the_same_columns(names: ColumnNames, tmp_path: Path) -> None:
    columns = parsed(column_rows(N).assign(**{"産/地": "鉱山"}), names)
    table = CrystalTable(np.array([f"x{i}" for i in range(N)]), Crystals.from_list([FEW[0]] * N, columns), None)
    table.to_store().save(tmp_path / "store")
    again = CrystalTable.from_store(type(table.to_store()).open(tmp_path / "store"))
    pd.testing.assert_frame_equal(again.crystals.columns, columns, check_column_type=False)


def test_the_columns_of_a_table_are_those_of_its_rows(tmp_path: Path) -> None:
    data = load(column_task(tmp_path))
    again = load(tmp_path / "small")  # from the cache
    for table, part in ((data.train, slice(0, N)), (data.test, slice(N, None)), (again.train, slice(0, N))):
        expected = parsed(column_rows(N + 6)[part])
        pd.testing.assert_frame_equal(table.crystals.columns, expected, check_column_type=False)


def test_a_bad_field_makes_a_bad_row_which_may_be_left_out(tmp_path: Path) -> None:
    task = column_task(tmp_path, lambda columns: columns.at.__setitem__(("x-3", "age"), "1_0"))
    with pytest.raises(ValueError, match=r"record 5, 'x-3'.*'age' is '1_0'"):
        load(task)
    data = load_task_data(task, tmp_path / "outputs", skip_bad_rows=True, n_jobs=1)
    expected = parsed(column_rows(N + 6)[:N].drop(index=3).reset_index(drop=True))
    assert data.left_out == ["x-3"]
    pd.testing.assert_frame_equal(data.train.crystals.columns, expected, check_column_type=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task with finished runs of trees and a network; its outputs lie next to it."""
    folder = column_task(tmp_path_factory.mktemp("finished"))
    for name, number in NUMBERS.items():
        run(folder, ExperimentConfig(CONFIGS[name], FoldConfig(n_folds=2)), f"exp{number}")
    return folder


def predicted(task: Path, number: str, *paths: Path) -> pd.DataFrame:
    """Return the table that predict.py writes for files."""
    out = task.parent / "predictions.csv"
    predict_files(paths, out, [number], task, outputs=task.parent / "outputs")
    return pd.read_csv(out, keep_default_na=False, na_values={"prediction": [""]}, float_precision="round_trip")


def expected(task: Path, number: str) -> np.ndarray:
    """Return the experiment's own predictions for its test table."""
    path = task.parent / "outputs" / "small" / f"exp{number}" / "test.csv"
    return pd.read_csv(path, float_precision="round_trip")["e_form_pred"].to_numpy()


def predictor(task: Path, *numbers: str) -> Predictor:
    return Predictor.load(*numbers, task=task, outputs=task.parent / "outputs")


@pytest.mark.parametrize("number", NUMBERS.values())
def test_predictions_for_the_test_table_are_those_of_the_experiment(number: str, finished: Path) -> None:
    table = predicted(finished, number, finished / "test.csv.gz")
    np.testing.assert_allclose(table["prediction"], expected(finished, number), rtol=0, atol=0 if number == "001" else 1e-6)


def test_python_takes_the_columns_as_a_data_frame(finished: Path) -> None:
    ready, crystals = predictor(finished, "001", "010"), load(finished).test.crystals
    structures = [crystals[i] for i in range(len(crystals))]
    columns = crystals.columns.assign(age=crystals.columns["age"].astype("Int64"), other=1)
    assert ready.models.columns == NAMES
    mean = np.mean([expected(finished, number) for number in NUMBERS.values()], axis=0)
    np.testing.assert_allclose(ready.predict(structures, columns)["prediction"], mean, rtol=0, atol=1e-6)
    vectors = predictor(finished, "010").features(structures, columns)
    assert len(vectors) == len(structures) and np.isfinite(vectors).all()


def test_python_says_which_columns_are_missing(finished: Path) -> None:
    ready, frame = predictor(finished, "001"), COLUMNS[: len(FEW)]
    with pytest.raises(ValueError, match="trained with the columns pressure, age, origin: give them"):
        ready.predict(FEW)
    with pytest.raises(ValueError, match="columns: no 'age', 'origin'"):
        ready.predict(FEW, frame[["pressure"]])
    with pytest.raises(ValueError, match="3 rows for 4 structures"):
        ready.predict(FEW, frame[:3])
    with pytest.raises(ValueError, match="categories 'origin' are numbers with a decimal point"):
        ready.predict(FEW, frame.assign(origin=[1.0, 2.0, np.nan, 3.0]))


def test_a_structure_without_the_columns_gets_the_reason_and_others_their_predictions(finished: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(finished / "test.csv.gz", dtype=str, keep_default_na=False)
    rows.loc[1, "age"], rows.loc[2, "age"] = "old", ""
    rows.to_csv(tmp_path / "a.csv", index=False)
    rows.drop(columns="origin").to_csv(tmp_path / "b.csv", index=False)
    (tmp_path / "c.cif").write_text(rows["cif"][0])
    table = predicted(finished, "001", tmp_path)
    n = len(rows)
    assert list(np.flatnonzero(table["prediction"].notna())) == [i for i in range(n) if i != 1]
    assert "'age' is 'old', not a number" in table["remark"][1]
    assert table["remark"][n : 2 * n].str.contains("no column 'origin', which the models were trained with").all()
    assert "no column 'pressure'" in table["remark"][2 * n]
