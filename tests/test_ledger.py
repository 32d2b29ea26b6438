"""Comparison, ledger and new experiments."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from exp import compare
from src.config import load
from src.config.load import experiment_names, load_config, question_and_parent
from src.config.new import new_experiment
from src.data.task import read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS
from src.results import ledger
from src.results.comparison import error_correlation
from src.results.difference import Difference, paired_difference
from src.results.predictions import Predictions, find_predictions
from src.results.sealed import sealed_metrics


def with_error(member: Predictions, error: np.ndarray | float) -> Predictions:
    return replace(member, oof=member.oof.assign(e_form_pred=member.oof["e_form"] + error))


def published_names() -> list[str]:
    return [*(path.parents[1].name for path in EXPERIMENTS.glob("exp*/results/metrics.json")), *sealed_metrics()]


@pytest.fixture
def baseline() -> Predictions:
    return find_predictions("001", read_task(DEFAULT_TASK), Path("/nonexistent"))


def test_the_committed_ledger_is_what_the_command_writes() -> None:
    wanted = ledger.updated_readmes()
    assert set(wanted) == {EXPERIMENTS / "README.md"}
    for path, text in wanted.items():
        assert text == path.read_text(encoding="utf-8"), "run: python exp/ledger.py"


def test_the_ledger_has_a_row_per_published_experiment() -> None:
    rows = [table["exp"].tolist() for table in ledger.ledger_tables().values()]
    published = published_names()
    assert sorted(f"exp{number}" for numbers in rows for number in numbers) == sorted(published)


@pytest.fixture(scope="module")
def gains() -> dict[str, Difference]:
    """The difference of each published experiment to its parent, by number."""
    task = read_task(DEFAULT_TASK)
    published = published_names()
    members = {name: find_predictions(name, task, Path("/nonexistent")) for name in published}
    found = {name.removeprefix("exp"): ledger.gain_to_parent(name, members) for name in published}
    return {number: gain for number, gain in found.items() if gain is not None}


def test_a_verdict_in_words_is_the_one_of_both_intervals(gains: dict[str, Difference]) -> None:
    for number, text in ledger.read_verdicts().items():
        if number in gains:
            assert ("no difference" in text) == (gains[number].verdict == "no difference"), number
            assert not re.search(r"\*\*.*(win|lose)s?\b", text) or gains[number].verdict in ("wins", "loses"), number


def test_every_experiment_names_a_question_and_a_parent_that_is_there() -> None:
    for name in experiment_names():
        question, parent = question_and_parent(name)
        assert question and (parent is None or parent in experiment_names()), name


def test_a_ledger_without_its_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Ledger\n")
    with pytest.raises(ValueError, match="once each"):
        ledger.between_markers(tmp_path / "README.md", "")


def test_an_ensemble_is_of_the_closed_track_where_its_members_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load.track_of("exp046") == "closed"
    open_member = load_config(EXPERIMENTS / "exp012")
    monkeypatch.setattr(load, "track", lambda config: "open" if config == open_member else "closed")
    assert load.track_of("exp046") == "open"


@pytest.fixture(scope="module")
def ledger_rows() -> pd.DataFrame:
    return pd.read_csv(EXPERIMENTS / "ledger.csv", dtype={"number": str, "parent": str}, float_precision="round_trip")


def test_every_sealed_experiment_is_found_with_the_score_of_its_row(ledger_rows: pd.DataFrame) -> None:
    task, sealed = read_task(DEFAULT_TASK), ledger_rows[ledger_rows["commit"].notna()]
    assert set(sealed["number"].radd("exp")) == set(load.sealed_experiments())
    scored = sealed[sealed["oof"].notna()]
    assert set(scored["number"].radd("exp")) == set(sealed_metrics())
    for _, row in scored.iterrows():
        found = find_predictions(row["number"], task, Path("/nonexistent"))
        assert found.metrics["oof_mae"] == pytest.approx(row["oof"], abs=1e-12), row["number"]
        assert list(found.test)[:2] == ["id", "fold_0"] and len(found.oof) == 3000 and len(found.test) == 938


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


def test_at_most_40_experiments_live() -> None:
    assert len(load.experiment_folders()) <= 40


def test_the_difference_is_paired_and_has_its_sign_from_the_interval(baseline: Predictions) -> None:
    """A small constant gain shows although crystals differ a hundred times as much from each other."""
    error = np.abs(baseline.oof["e_form_pred"] - baseline.oof["e_form"]) + 0.01
    better = paired_difference(with_error(baseline, error), with_error(baseline, error - 0.005))
    assert better.value == pytest.approx(-0.005)
    assert better.verdict == "wins" and str(better).endswith("*")
    assert (better.folds_won, better.n_folds) == (10, 10)
    noise = np.random.default_rng(0).normal(size=len(error)) * 0.01
    level = paired_difference(with_error(baseline, error), with_error(baseline, error + noise - noise.mean()))
    assert level.verdict == "no difference" and not str(level).endswith("*")


def test_errors_of_opposite_sign_are_what_a_blend_wants(baseline: Predictions) -> None:
    error = np.random.default_rng(0).normal(size=len(baseline.oof))
    other = replace(with_error(baseline, -error), name="exp999")
    found = error_correlation([with_error(baseline, error), other])
    assert found.loc["exp001", "exp999"] == pytest.approx(-1)


def test_json_holds_the_figures_of_the_table(capsys: pytest.CaptureFixture) -> None:
    compare.main(["001", "010", "--json", "--outputs", "/nonexistent"])
    found = json.loads(capsys.readouterr().out)
    published = json.loads((EXPERIMENTS / "exp010/results/metrics.json").read_text())
    assert found["rows"][1]["oof_mae"] == pytest.approx(published["oof_mae"])
    assert found["rows"][1]["difference"]["high"] < 0
    assert "test_mae" not in found["rows"][0]
    assert list(pd.DataFrame(found["error_correlation"])) == ["exp001", "exp010"]


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
