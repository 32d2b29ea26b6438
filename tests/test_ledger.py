"""Comparison, ledger and new experiments."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.config import catalogue
from src.config.catalogue import experiment_names, load_config, new_experiment, question_and_parent
from src.data.task import read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS
from src.results import ledger
from src.results.difference import Difference, FoldInterval, paired_differences
from src.results.predictions import Predictions, find_predictions, sealed_metrics
from src.runs import verify


def with_error(member: Predictions, error: np.ndarray | float) -> Predictions:
    return replace(member, oof=member.oof.assign(e_form_pred=member.oof["e_form"] + error))


@pytest.fixture
def baseline() -> Predictions:
    return find_predictions("001", read_task(DEFAULT_TASK), Path("/nonexistent"))


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return ledger.read_ledger()


def test_the_committed_ledger_and_its_page_are_what_the_command_writes() -> None:
    for path, text in ledger.updated_files().items():
        assert text == path.read_text(encoding="utf-8"), "run: python exp/ledger.py"


def test_the_ledger_reads_in_three_minutes() -> None:
    assert len(re.findall(r"[^\s|]+", (EXPERIMENTS / "README.md").read_text(encoding="utf-8"))) <= 1500


def difference_of(row: pd.Series) -> Difference | None:
    """Return the difference to the parent that a row has."""
    if not row["difference"]:
        return None
    value, low, high, *folds = row[["difference", "crystals_low", "crystals_high", "folds_low", "folds_high", "p"]].astype(float)
    return Difference(row["metric"], value, low, high, 0, 0, FoldInterval(*folds))


def test_each_row_has_a_short_question_one_word_and_the_verdict_of_both_intervals(rows: pd.DataFrame) -> None:
    assert not rows[ledger.KEY].duplicated().any()
    for _, row in rows.iterrows():
        assert 1 <= len(row["short"].split()) <= 12 and len(row["outcome"].split()) == 1, row["number"]
        if (gain := difference_of(row)) is not None:
            assert row["outcome"] == ledger.OUTCOMES[gain.verdict], row["number"]
            assert ("no difference" in row["verdict"]) == (gain.verdict == "no difference"), row["number"]
            assert not re.search(r"\*\*.*(win|lose)s?\b", row["verdict"]) or gain.verdict in ("wins", "loses"), row["number"]


def test_a_row_that_is_missing_is_computed_as_it_stands_and_sealed_ones_are_kept(
    rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows lost are of the task here, of another one, and of a benchmark; what was written by hand is lost with them."""
    lost = rows["number"].isin(["094", "043"]) | (rows["number"].eq("022") & rows["record"].eq("plain"))
    monkeypatch.setattr(ledger, "read_ledger", lambda: rows[~lost])
    found = ledger.updated_ledger().reset_index(drop=True)
    by_hand = ["short", "verdict", "outcome"]
    assert lost.sum() == 3 and list(found["number"]) == list(rows["number"])
    exact = ["question", "parent", "track", "metric", "unit", "lower_bound", "n_parameters", "commit"]
    pd.testing.assert_frame_equal(found[exact], rows[exact])
    numbers = [column for column in rows if column not in [*ledger.KEY, *exact, *by_hand]]
    as_numbers = [table[numbers].replace("", "nan").astype(float) for table in (found, rows)]
    np.testing.assert_allclose(*as_numbers, rtol=1e-9)
    pd.testing.assert_frame_equal(found[~lost], rows[~lost])


def test_every_experiment_names_a_question_and_a_parent_that_is_there() -> None:
    for name in experiment_names():
        question, parent = question_and_parent(name)
        assert question and (parent is None or parent in experiment_names()), name


def test_an_ensemble_is_of_the_closed_track_where_its_members_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert catalogue.track_of("exp046") == "closed"
    open_member = load_config(EXPERIMENTS / "exp012")
    monkeypatch.setattr(catalogue, "track", lambda config: "open" if config == open_member else "closed")
    assert catalogue.track_of("exp046") == "open"


def test_every_sealed_experiment_is_found_with_the_score_of_its_row(rows: pd.DataFrame) -> None:
    task, sealed = read_task(DEFAULT_TASK), rows[rows["commit"] != ""]
    assert set(sealed["number"].radd("exp")) == set(catalogue.sealed_experiments())
    scored = sealed[sealed["oof"] != ""]
    assert set(scored["number"].radd("exp")) == set(sealed_metrics())
    for number, oof in zip(scored["number"], scored["oof"].astype(float), strict=True):
        found = find_predictions(number, task, Path("/nonexistent"))
        assert found.metrics["oof_mae"] == pytest.approx(oof, abs=1e-12), number
        assert list(found.test)[:2] == ["id", "fold_0"] and len(found.oof) == 3000 and len(found.test) == 938


def test_the_command_that_verifies_a_sealed_fold_trains_it_with_the_commit_of_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "ROOT", tmp_path / "repository")
    add, enter, train = (verify.command_elsewhere("57", 3) or "").split(" && ")
    tree, commit = tmp_path / "repository-330aafe", catalogue.sealed_experiments()["exp057"]["commit"]
    assert add.endswith(f"worktree add --detach {tree} {commit}") and enter == f"cd {tree}"
    assert train.endswith("exp/verify.py 057 --fold 3 --device cpu") and verify.command_elsewhere("010", 3) is None
    tree.mkdir()
    assert verify.command_elsewhere("57", 3) == f"{enter} && {train}"


@pytest.mark.parametrize(
    "call",
    [
        lambda: load_config(EXPERIMENTS / "exp027"),
        lambda: find_predictions("027", read_task(DEFAULT_TASK), Path("/nonexistent")).models,
        lambda: find_predictions("034", read_task(DEFAULT_TASK), Path("/nonexistent")),
    ],
)
def test_what_a_sealed_experiment_no_longer_has_is_named_with_the_commit_that_has_it(call: Callable[[], object]) -> None:
    with pytest.raises((FileNotFoundError, ValueError), match=r"is sealed.* commit 330aafe\w{33} trains it.*exp/verify.py 0"):
        call()


def test_the_difference_is_paired_and_has_its_sign_from_the_interval(baseline: Predictions) -> None:
    """A small constant gain shows although crystals differ a hundred times as much from each other."""
    error = np.abs(baseline.oof["e_form_pred"] - baseline.oof["e_form"]) + 0.01
    (better,) = paired_differences(with_error(baseline, error), [with_error(baseline, error - 0.005)])
    assert better.value == pytest.approx(-0.005)
    assert better.verdict == "wins" and str(better).endswith("*")
    assert (better.folds_won, better.n_folds) == (10, 10)
    noise = np.random.default_rng(0).normal(size=len(error)) * 0.01
    (level,) = paired_differences(with_error(baseline, error), [with_error(baseline, error + noise - noise.mean())])
    assert level.verdict == "no difference" and not str(level).endswith("*")


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    parent = tmp_path / "exp012"
    parent.mkdir()
    for name in ("config.py", "train.py"):
        (parent / name).write_text((EXPERIMENTS / "exp012" / name).read_text())
    return tmp_path


def test_a_new_experiment_is_its_parent_under_another_question(experiments: Path) -> None:
    folder = new_experiment("42", "012", "Do 128 channels help?", experiments)
    assert folder == experiments / "exp042"
    parent = load_config(EXPERIMENTS / "exp012")
    assert load_config(folder) == replace(parent, target=replace(parent.target, unseen_elements="predicted"))
    text = (folder / "config.py").read_text()
    assert text.startswith('"""Do 128 channels help?\n\nParent: exp012. Changed: target.unseen_elements')
    template = (EXPERIMENTS / "exp001" / "train.py").read_text()
    assert (folder / "train.py").read_text() == template.replace("exp001", "exp042")
    assert sorted(path.name for path in experiments.iterdir()) == ["exp012", "exp042"]


@pytest.mark.parametrize(
    ("number", "parent", "why", "message"),
    [
        ("012", "012", "Why?", "exists already"),
        ("042", "013", "Why?", "no experiment exp013"),
        ("042", "012", " ", "one line"),
        ("042", "012", 'The "best"?', "double quotes"),
        ("0042", "012", "Why?", "not the number"),
    ],
)
def test_a_new_experiment_that_cannot_be_is_refused(experiments: Path, number: str, parent: str, why: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_experiment(number, parent, why, experiments)
    assert [path.name for path in experiments.iterdir()] == ["exp012"]
