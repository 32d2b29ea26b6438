"""What submissions, comparisons and the ledger say and write, word for word, for predictions that are made by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from src.data.task import ColumnNames, Target, Task
from src.results import comparison, ledger, submission
from src.results.blend import Blend, fixed_blend
from src.results.comparison import Compared, compared_text, score_rows
from src.results.difference import difference_of_scores
from src.results.folder import OOF_COLUMNS, UNREAD, RunDir, check_score
from src.results.labels import score_submission
from src.results.metrics import METRICS
from src.results.partial import Partial, partial_rows
from src.results.predictions import Predictions
from src.results.probabilities import VennAbers, calibration_text
from src.results.submission import Blended, check_ids, parts_table, read_sample, submit

FOLD = np.array([0, 0, 1, 1, 1])
TRUTH, SIGN = np.array([1.0, 2, 4, 8, 3]), np.array([1, -1, 1, 1, -1])
ERROR = {"exp901": 0.4, "exp902": -0.8, "exp903": 0.6}


def task_of(folder: Path, columns: tuple[str, ...] = ("energy",), metric: str = "mae") -> list[Task]:
    """Return a task once for each of its targets; their units are those of energies and of others."""
    targets = tuple(Target(name, "eV" if name == "energy" else "kOe") for name in columns)
    files = {name: f"{name}.csv" for name in ("train", "test", "sample_submission", "test_labels")}
    return [Task("mine", folder, "id", "cif", "cif", targets, one, metric, files, ColumnNames((), ())) for one in targets]


def part(name: str, scale: float = 1.0, folder: Path = Path("there")) -> Predictions:
    """Return predictions whose errors are all as large, in proportion to the scale of the targets; exp902 has another order."""
    pred = scale * TRUTH + scale * ERROR[name] * SIGN
    oof = pd.DataFrame(dict(zip(OOF_COLUMNS, [[*"abcde"], FOLD, scale * TRUTH, pred], strict=True)))
    oof = oof[::-1] if name == "exp902" else oof
    test = np.array([[1.0, 3], [4, -8], [9, 5]]) * scale + ERROR[name]
    table = pd.DataFrame({"id": [*"xyz"], "fold_0": test[:, 0], "fold_1": test[:, 1], "e_form_pred": test.mean(axis=1)})
    metrics = {"fold_mae_sd": 0.05, "cpu_seconds": 12.6, "n_parameters": 70, UNREAD: ["w"], "rows_left_out": ["f"]}
    return Predictions(name, folder / name, oof, table, metrics | ({"gpus": ["one"]} if name == "exp902" else {}))


def words(text: str) -> list[str]:
    """Return the lines of a text, with one space where there are several."""
    return [" ".join(line.split()) for line in text.splitlines()]


def sample(folder: Path, columns: tuple[str, ...], ids: str = "ywzx") -> None:
    pd.DataFrame({"id": [*ids]} | dict.fromkeys(columns, 0)).to_csv(folder / "sample_submission.csv", index=False)


@pytest.mark.parametrize("several", [False, True])
def test_a_submission_reads_as_written_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool) -> None:
    """One target: given weights. Two: the plain mean, with and without a third experiment."""
    names, seen = ("energy", "gap")[: 1 + several], []
    scales = {"energy": 1.0, "gap": 10.0}
    tasks, out, numbers = task_of(tmp_path, names), tmp_path / "mine.csv", ["901", "902"]
    sample(tmp_path, names[::-1])
    find = lambda number, task, outputs: part(f"exp{number}", scales[task.target_column])
    monkeypatch.setattr(submission, "find_predictions", find)
    monkeypatch.setattr(submission, "find_parts", lambda numbers, *place: [find(number, *place) for number in numbers])
    monkeypatch.setattr(submission, "track_of", lambda name: "open" if name == "exp902" else "closed")
    monkeypatch.setattr(submission, "points_of", lambda *known: known)
    monkeypatch.setattr("src.data.load.load_task_data", lambda *known: seen.append(known))
    guess = pd.DataFrame({"prediction": 7.0, "lower": 6.0, "upper": 9.0, "spread": np.nan, "remark": "a guess"}, index=["w"])
    monkeypatch.setattr("src.results.fallback.formula_predictions", lambda data, ids: guess.loc[ids])
    columns = {"lower": np.array([1.0, 2, 3]), "upper": np.array([2.0, 4, 7]), "spread": np.array([0.1, 0.2, 0.3])}
    found = SimpleNamespace(half_width=np.array([0.5, 1, 2]), coverage=np.array([0.5, 1]), **columns)
    monkeypatch.setattr(submission, "calibrate", lambda *known: seen.append((known[3][0].unit, known[3][2].name)) or found)
    if several:
        numbers = {"energy": ["901", "902"], "gap": ["902", "901"]}
    text = submit(tasks, tmp_path, numbers, "mean" if several else [3, 1], "903" if several else None, out)

    assert seen == [(tmp_path, tmp_path, True, 1, name) for name in names] + [("eV", "exp901"), ("kOe", "exp902")][: len(names)]
    head, beside = "experiment weight over folds OOF MAE (eV) read from", tmp_path / "mine_with_uncertainty.csv"
    given = "the weights are given, nothing is fitted"
    ending = [f"{out}: 4 rows, ids and order as in sample_submission.csv"]
    ending += [f"{beside}: with the spread over folds and members and 90% intervals"]
    wide = "2.333 eV wide on average, 2.000 in the median"
    warning = ["warning: 1 test rows cannot be read, see their remarks: w"]
    warning += ["open track: exp902 used energies from outside the task's data"]
    if several:
        third, brings = "0.333 ± 0.000", "exp903 brings {0} ({0} to {0}; {0} to {0}) * {1} "
        brings += "(nested OOF MAE; 95% over crystals; over folds)"
        lines = ["energy:", head, f"exp901 {third} 0.4000 there/exp901", f"exp902 {third} 0.8000 there/exp902"]
        lines += [f"exp903 {third} 0.6000 there/exp903", f"blend 0.0667 {given}"]
        lines += [brings.format("-0.1333", "eV")]
        lines += ["gap:", head.replace("eV", "kOe"), f"exp902 {third} 8.0000 there/exp902", f"exp901 {third} 4.0000 there/exp901"]
        lines += [f"exp903 {third} 6.0000 there/exp903", f"blend 0.6667 {given}"]
        lines += [brings.format("-1.3333", "kOe")]
        of_both = [f"energy: {wide}", "OOF coverage by fold: 50% 100%", f"gap: {wide.replace('eV', 'kOe')}"]
        lines += [*ending, *of_both, "OOF coverage by fold: 50% 100%", *warning]
        lines += ["mean over 2 targets: MAE 0.3667 (nested OOF)"]
    else:
        lines = [head, "exp901 0.750 ± 0.000 0.4000 there/exp901", "exp902 0.250 ± 0.000 0.8000 there/exp902"]
        lines += [f"blend 0.1000 {given}", *ending, wide, "OOF coverage by fold: 50% 100%", *warning]
    assert words(text) == lines
    written, more = pd.read_csv(out), pd.read_csv(beside)
    assert list(written) == ["id", *names[::-1]] and "".join(written["id"]) == "ywzx"
    mean = np.array([0, 7, 7, 2]) + (0.2 / 3 if several else 0.1) * np.array([0, 0, 1, 1])  # none is below zero
    np.testing.assert_allclose(written["energy"], mean)
    first = "energy_" * several
    bounds = more[[f"{first}{name}" for name in ("lower", "upper", "spread")]]
    np.testing.assert_array_equal(bounds, [[1, 2, 0.1], [6, 9, np.nan], [2, 4, 0.2], [3, 7, 0.3]])
    assert more["remark"].fillna("").tolist() == ["", "a guess", "", ""] and len(more.columns) == (10 if several else 6)


def test_classes_are_told_apart_by_the_best_threshold_and_probabilities_are_calibrated() -> None:
    """A probability that is the threshold is of the first class."""
    target, pred, fold = np.array([0.0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9]), np.arange(4) % 2
    oof = pd.DataFrame(dict(zip(OOF_COLUMNS, [[*"abcd"], fold, target, pred], strict=True)))
    test = pd.DataFrame({"id": [*"xyz"], "e_form_pred": [0.4, 1.2, -0.1]})
    task = SimpleNamespace(of_classes=True, metric="accuracy", texts=("no", "yes"))
    one = Blended(
        task, "kind", [Predictions("exp901", Path(), oof, test, {})], fixed_blend(np.ones(1), pred[:, None]), [*"zyx"], None, []
    )
    said = "kind: 'yes' where the probability is above 0.4000, the best threshold out of fold, else 'no'"
    assert one.submitted([*"zyx"]) == (["no", "yes", "no"], [said])
    columns, text = one.probabilities()
    found, new = VennAbers.fit(target, pred), np.array([0, 1, 0.4])
    expected = {"probability": new, "calibrated": found.calibrated(new)} | dict(
        zip(("lower", "upper"), found.bounds(new), strict=True)
    )
    assert list(columns) == list(expected) and text == calibration_text(target, pred, fold)
    np.testing.assert_array_equal([*columns.values()], [*expected.values()])
    plain, remarks = replace(one, task=SimpleNamespace(of_classes=True, metric="roc_auc")).submitted([*"zyx"])
    assert plain.tolist() == [0, 1, 0.4] and remarks == []


def test_a_prediction_that_is_not_finite_is_named_and_old_intervals_go_if_there_are_no_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, table = part("exp901"), part("exp901").test.assign(e_form_pred=[1.0, np.nan, 2.0])
    one = Blended(task_of(tmp_path)[0], "energy", [own], fixed_blend(np.ones(1), TRUTH[:, None]), [*"zyx"], None, [])
    assert one.predict().min() == 0
    with pytest.raises(ValueError, match=r"1 predictions are not finite: \['y'\]"):
        replace(one, parts=[replace(own, test=table)]).predict()

    def refuse(*known: object) -> None:
        raise ValueError("too few")

    monkeypatch.setattr(submission, "points_of", refuse)
    (tmp_path / "mine_with_uncertainty.csv").touch()
    for _ in range(2):  # there may be none
        text = submission.write_intervals(tmp_path / "mine.csv", pd.DataFrame({"id": [*"xyz"]}), [one], tmp_path)
        assert text == "no intervals: too few" and not (tmp_path / "mine_with_uncertainty.csv").exists()


@pytest.mark.parametrize(("scale", "is_good"), [(1.0, True), (0.0, True), (1.2, False), (-1.2, False), (np.nan, False)])
@pytest.mark.parametrize("size", [0.4, 1000.0])
def test_a_stored_score_is_that_of_its_rows_but_for_rounding(size: float, scale: float, is_good: bool) -> None:
    """By a millionth or, of large ones, by this share."""
    stored = size + 0.9e-6 * max(1, size) * scale
    if is_good:
        return check_score(Path("exp/oof.csv"), part("exp901", size / 0.4).oof, stored)
    with pytest.raises(ValueError, match="its rows have an MAE of"):
        check_score(Path("exp/oof.csv"), part("exp901", size / 0.4).oof, stored)


def test_folds_are_finished_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("fold_10", "fold_2", "fold_3"):
        (tmp_path / name).mkdir()
    for k in (10, 2):
        (tmp_path / f"fold_{k}" / "metrics.json").touch()
    assert RunDir(tmp_path).finished == [2, 10]


def test_the_table_of_a_fitted_blend_reads_as_written_here(tmp_path: Path) -> None:
    parts, pred = [part("exp901"), part("exp902")], np.stack([TRUTH + 0.1, TRUTH - 0.3])
    weights = np.array([[0.6, 0.4], [0.8, 0.2]])
    one = Blend(np.array([0.75, 0.25]), weights, *pred, True, np.array([True, False]))
    lines = ["experiment weight over folds OOF MAE (eV) read from", "exp901 0.750 ± 0.100 0.4000 there/exp901"]
    lines += ["exp902 0.250 ± 0.100 0.8000 there/exp902"]
    nested = "blend, nested 0.1000 each fold by weights fitted on the others"
    naive = "blend, naive 0.3000 weights fitted on the rows"
    (task,), plain = task_of(tmp_path), replace(one, on_logits=False, fold_on_logits=np.zeros(2, dtype=bool))
    assert words(parts_table(parts, one, task)) == [
        *lines, f"{nested}, of logits in 1 of 2 folds", f"{naive} they are scored on, of logits"
    ]  # fmt: skip
    assert words(parts_table(parts, plain, task)) == [*lines, nested, f"{naive} they are scored on"]
    assert words(parts_table(parts[1:], fixed_blend(np.ones(1), pred.T[:, :1]), task)) == [
        lines[0], "exp902 1.000 ± 0.000 0.8000 there/exp902"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "ids", "words"),
    [
        (("energy",), "xyz", ""),
        (("whatever",), "zyx", ""),
        (("energy", "other"), "xyz", "columns 'id' and one of predictions; found ['id', 'energy', 'other']"),
        ((), "xyz", "found ['id']"),
        (("energy",), "xyx", "'id' 'x' is duplicated"),
    ],
)
def test_a_sample_of_one_target_has_ids_and_one_column(tmp_path: Path, columns: tuple[str, ...], ids: str, words: str) -> None:
    sample(tmp_path, columns, ids)
    if not words:
        table, found = read_sample(task_of(tmp_path))
        assert (found, "".join(table["id"])) == ([*columns], ids)
        return
    with pytest.raises(ValueError) as refused:
        read_sample(task_of(tmp_path))
    assert words in str(refused.value)


def test_a_sample_asks_for_the_rows_that_are_predicted_in_any_order() -> None:
    check_ids(Path("s.csv"), [*"zxy"], part("exp901"))
    for ids, n in (
        ("xyzv", "1 of its ids are missing in the test predictions of exp901 ['v'], and it lacks 0 of"),
        ("y", "lacks 2 of"),
    ):
        with pytest.raises(ValueError) as refused:
            check_ids(Path("s.csv"), [*ids], part("exp901"))
        assert n in str(refused.value)


LABELS = pd.Series({"z": 60.0, "x": 30.0, "y": -10.0})  # those predicted with a scale of ten are 70, 20 and -20, and the error


@pytest.mark.parametrize("metric", ["mae", "r2"])
def test_a_row_of_scores_is_the_one_computed_by_hand(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.results.metrics.N_RESAMPLES", 9)
    first, second = rows = score_rows([part("exp901", 10), part("exp902", 10)], LABELS, metric=metric)
    loss, truth = METRICS[metric], 10 * TRUTH
    for row, error in zip(rows, (0.4, -0.8), strict=True):
        pred, test = 10 * (TRUTH + error * SIGN), np.array([70, 20, -20]) + error
        expected = {"oof_mae": 10 * abs(error), "oof_rmse": 10 * abs(error), "fold_mae_sd": 0.05}
        expected |= {"test_mae": np.abs(test - LABELS).mean(), "test_rmse": np.sqrt(((test - LABELS) ** 2).mean())}
        expected |= {"cpu_seconds": 12.6, "n_parameters": 70}
        if metric == "r2":
            of_folds = [loss(truth[k == FOLD], pred[k == FOLD]) for k in (0, 1)]
            expected |= {"oof_r2": loss(truth, pred), "test_r2": loss(LABELS.to_numpy(), test)}
            expected |= {"fold_r2_sd": np.std(of_folds, ddof=1)}
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float) and name != "p_holm"}
        assert numbers == pytest.approx(expected)
    assert (first["experiment"], first["seconds_text"], first["difference"], first["p_holm"]) == ("exp901", "13", None, None)
    assert (second["experiment"], second["seconds_text"]) == ("exp902", "≥ 13")
    assert second["difference"] == difference_of_scores(truth, 10 * (TRUTH + 0.4 * SIGN), 10 * (TRUTH - 0.8 * SIGN), FOLD, metric)
    assert second["p_holm"] == second["difference"].folds.p
    assert "test_mae" not in score_rows([part("exp901")], None)[0]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_comparison_reads_as_written_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Ranks need three experiments, differences two."""
    monkeypatch.setattr(comparison, "track_of", lambda name: "closed")
    experiments = [part(name, 10) for name in ERROR][:n]
    rows = score_rows(experiments, LABELS)
    half = Partial("exp904", [1], experiments[0].oof[2:].assign(e_form_pred=0.0))
    shown = words(Compared(task_of(tmp_path)[0], experiments, [row | {"inside_90": 0.5} for row in rows], [half]).text(False))
    gains = ["", " +4.0000 (+4.0000 to +4.0000; +4.0000 to +4.0000) * 0 of 2 <0.0001 <0.0001"]
    gains += [gains[1].replace("4.", "2.")]
    scores = ["4.0000 ± 0.0500 4.0000 9.8667 9.8739", "8.0000 ± 0.0500 8.0000 10.2667 10.2943", "6.0000 ± 0.0500 6.0000"]
    assert shown[0].startswith("experiment OOF MAE OOF RMSE test MAE test RMSE in 90% CPU s parameters ΔMAE to exp901")
    for line, name, score, gain, lower in zip(shown[1 : n + 1], ERROR, scores, gains, ("", "≥ ", ""), strict=False):
        assert line.startswith(f"{name} {score}") and line.endswith(f" 50.0% {lower}13 70{gain}")
    notes = ["sd over folds", comparison.STAR, f"p: of the test over folds; Holm p: corrected for the {n - 1} shown"]
    notes = notes[: 3 if n > 1 else 1]
    blank = shown.index("")
    assert shown[blank + 1 : shown.index("", blank + 1)] == [
        *(f"{note};" for note in notes), "in 90%: share of test crystals inside their 90% interval."
    ]  # fmt: skip
    signs = np.array([[1, -1, 1], [-1, 1, -1], [1, -1, 1]])[:n, :n]
    table = shown.index(" ".join(["error correlation", *[*ERROR][:n]]))
    assert shown[table + 1 : table + 1 + n] == [
        " ".join([name, *map("{:.2f}".format, row)]) for name, row in zip(ERROR, signs, strict=False)
    ]
    ranks = "CV against leaderboard: rank correlation 0.50 over 3 experiments; best OOF exp901, best on test exp903"
    assert [line for line in shown if line.startswith("CV against")] == [ranks] * (n == 3)
    ending = ["Partial runs: MAE on the rows of their finished folds.", ""]
    ending += ["partial run finished folds rows score exp901 on the same rows", "exp904 1 3 50.0000 4.0000", "", "Errors in eV."]
    ending += [f"{name}: closed track, read from there/{name}" for name in [*ERROR][:n]]
    assert shown[-len(ending) :] == ending


def test_a_partial_run_without_a_score_on_some_rows_has_none() -> None:
    half = Partial("exp904", [0, 1], part("exp902").oof)
    (row,) = partial_rows([half], replace(part("exp901"), oof=part("exp901").oof[1:]), "mae")
    assert [*row.values()] == ["exp904", "0, 1", "5", "0.8000", ""]
    assert half.text("mae") == "MAE 0.8000 on the 5 rows of folds 0, 1 (partial)"


@pytest.mark.parametrize("markdown", [False, True])
def test_the_mean_over_targets_is_of_the_experiments_that_have_all(markdown: bool) -> None:
    def compared(name: str, scored: dict[str, tuple[float, float]]) -> Compared:
        rows = [{"experiment": key, "oof_mae": oof, "test_mae": test, "oof_rmse": 9.0} for key, (oof, test) in scored.items()]
        task = SimpleNamespace(metric="mae", target_column=name)
        return SimpleNamespace(task=task, rows=rows, text=lambda markdown: f"{name} {markdown}")

    energy = compared("energy", {"exp903": (0.1, 0.3), "exp901": (0.5, 0.2), "exp902": (0.7, 0.9)})
    gap, other = compared("gap", {"exp901": (0.3, 0.7), "exp903": (0.4, 0.6)}), compared("gap", {"exp904": (0.1, 0.1)})
    mark, rows = "", ["experiment OOF MAE test MAE", "exp903 0.2500 0.4500", "exp901 0.4000 0.4500"]
    if markdown:
        mark, head = "## ", ["| experiment | OOF MAE | test MAE |", "| --- | --- | --- |"]
        rows = [*head, *(f"| {row.replace(' ', ' | ')} |" for row in rows[1:])]
    titles = [f"{mark}energy", f"energy {markdown}", f"{mark}gap", f"gap {markdown}", f"{mark}mean over 2 targets"]
    texts = [line for title in titles for line in (title, "")]
    assert words(compared_text([energy, gap], markdown)) == [*texts, *rows]
    assert words(compared_text([energy, other], markdown)) == [*texts, "no experiment has all"]
    assert compared_text([gap], markdown) == f"gap {markdown}"


@pytest.mark.parametrize(
    ("metric", "truth", "submitted", "said"),
    [
        ("mae", "3 -1 6", ["5 1 2"], "test MAE 2.6667, RMSE 2.8284 eV, 3 crystals"),
        ("rmse", "3 -1 6", ["5 1 2"], "test MAE 2.6667, RMSE 2.8284 eV, 3 crystals"),
        ("r2", "3 -1 6", ["5 1 6"], "test R2 0.6757, MAE 1.3333, RMSE 1.6330 eV, 3 crystals"),
        ("logloss", "1 False 1.0", [".5 .5 .25"], "test log loss 0.9242, 3 crystals"),
        ("f1", "1 0 True", ["true 1 0"], "test F1 0.5000, 3 crystals"),
        ("mae", "3 -1 6", ["5 1 2", "3 -1 7.5"], "MAE 0.5000, RMSE 0.8660 kOe, 3 crystals\n  mean over 2 targets: MAE 1.5833"),
    ],
)
def test_the_score_of_a_file_reads_as_written_here(
    tmp_path: Path, metric: str, truth: str, submitted: list[str], said: str
) -> None:
    """Its rows may be in another order than the labels."""
    names, path = ("energy", "gap")[: len(submitted)], tmp_path / "mine.csv"
    pd.DataFrame({"id": [*"xyz"]} | dict.fromkeys(names, truth.split())).to_csv(tmp_path / "test_labels.csv", index=False)
    fields = dict(zip(names, map(str.split, submitted), strict=True))
    pd.DataFrame({"id": [*"xyz"]} | fields)[::-1].to_csv(path, index=False)
    two = f"{path}:\n  energy: test MAE 2.6667, RMSE 2.8284 eV, 3 crystals\n  gap: test "
    assert score_submission(path, task_of(tmp_path, names, metric)) == (two if len(names) > 1 else f"{path}: ") + said


@pytest.mark.parametrize(
    ("metric", "table", "words"),
    [
        ("mae", "id,energy\nx,1\nz,2\n", "its ids are not those of the test labels"),
        ("mae", "id,energy\nx,1\ny,0\nx,2\n", "'x' is duplicated, or its 'energy' is not finite"),
        ("mae", "id,energy\nx,1\ny,inf\n", "'y' is duplicated, or its 'energy' is not finite"),
        ("accuracy", "id,energy\nx,1\ny,2\n", "'y' is duplicated, or its 'energy' is not a class"),
        ("mae", "id,gap\nx,1\ny,2\n", "expected the columns 'id' and 'energy', found"),
    ],
)
def test_a_file_of_other_rows_or_of_no_numbers_is_not_scored(tmp_path: Path, metric: str, table: str, words: str) -> None:
    (tmp_path / "test_labels.csv").write_text("id,energy\ny,0\nx,1\n")
    (tmp_path / "mine.csv").write_text(table)
    with pytest.raises(ValueError, match=words):
        score_submission(tmp_path / "mine.csv", task_of(tmp_path, metric=metric))


def test_the_ledger_has_the_task_here_first_and_corrects_living_rows_for_the_tests_of_their_track(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = ["010,flla,,,closed,0.01,,", "002,flla,,,closed,0.04,0.5,abc", "011,other,b,,closed,,,", "003,flla,,,open,0.03,,"]
    lines, seen = [line.split(",") for line in [*lines, "011,other,a,,closed,,,"]], []
    new = [{"number": "011", "task": "beta", "record": "r", "track": "open"}]
    new += [{"number": "001", "task": "flla", "track": "closed", "p": 0.02}]
    columns = [*ledger.KEY, "track", "p", "p_holm", "commit"]
    monkeypatch.setattr(ledger, "read_ledger", lambda: pd.DataFrame(lines, columns=columns))
    monkeypatch.setattr(ledger, "_new_rows", lambda known: seen.append(known) or new)
    found = ledger.updated_ledger()[["number", "task", "target", "p", "p_holm"]]
    assert seen == [{tuple(line[:4]) for line in lines}]
    expected = ["001,flla,,0.02,0.04", "002,flla,,0.04,0.5", "003,flla,,0.03,0.03", "010,flla,,0.01,0.03"]
    assert [",".join(line) for line in found.to_numpy()] == [*expected, "011,beta,,,", "011,other,a,,", "011,other,b,,"]
    assert [ledger._cell(one) for one in (None, True, False, 0.1, 7, "x")] == ["", "yes", "", "0.1", "7", "x"]


def test_the_page_of_the_ledger_reads_as_written_here() -> None:
    """Errors from ten on have two digits; a score of which more is better is sorted the other way."""
    lines = ["010,flla,,closed,mae,eV,10,3.14159,1234.6,yes,why,wins", "002,flla,,closed,mae,eV,9.5,,7.2,,how,level"]
    lines += ["011,alloys,gap,open,r2,eV,0.5,0.25,1,,a,loses", "012,alloys,gap,open,r2,eV,0.7,0.1,2,,b,wins"]
    names = "number,task,target,track,metric,unit,oof,test,cpu_seconds,lower_bound,short,outcome"
    rows = pd.DataFrame([line.split(",") for line in [*lines, "013,flla,,closed,mae,eV,,,,,who,none"]], columns=names.split(","))
    head = "|exp|question|OOF|test|CPU s|verdict|\n|---|---|---|---|---|---|\n"
    assert ledger.ledger_text(rows).split("\n\n") == [
        "### flla, closed track, MAE (eV)",
        f"{head}|002|how|9.5000||7|level|\n|010|why|10.00|3.14|≥ 1,235|wins|",
        "### alloys, gap, open track: with models trained on other data, R2",
        f"{head}|012|b|0.7000|0.1000|2|wins|\n|011|a|0.5000|0.2500|1|loses|",
        "### Without a score of their own",
        "|exp|question|verdict|\n|---|---|---|\n|013|who|none|",
    ]


@pytest.mark.parametrize("text", ["a", "a<b", "a>b", "a<<b>", "a<b>>", "a>b<"])
def test_the_page_of_the_ledger_has_both_marks_once_and_in_order(text: str) -> None:
    marked = lambda text: text.translate({ord("<"): ledger.START, ord(">"): ledger.LEDGER_END})
    assert ledger.between_markers(marked("a<old>b"), "new") == marked("a<\n\nnew\n\n>b")
    with pytest.raises(ValueError, match="once each"):
        ledger.between_markers(marked(text), "new")
