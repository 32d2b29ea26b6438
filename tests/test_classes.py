"""Laws of two classes, from the tables to a submission."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import FOLDS, NETWORK, TREES, load, run, small_table
from scipy import optimize
from scipy.special import expit
from sklearn import metrics as reference
from sklearn.isotonic import IsotonicRegression

import predict
import submit
from exp import compare, report
from src.auto.look import look_at
from src.auto.race import measure
from src.config import (
    AlignnConfig,
    BlendConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    NetworkConfig,
    RoostConfig,
    TargetConfig,
    TrainingConfig,
)
from src.data.export import TARGET, write_task
from src.data.new_task import new_task
from src.data.target import TargetNormalizer, class_of
from src.data.task import read_task
from src.results import blend, ledger
from src.results.blend import fit_blend, mixed
from src.results.matbench import board, fold_record, record, write_record
from src.results.metrics import METRICS, best_threshold, decided, scores
from src.results.probabilities import VennAbers, calibrated_oof, calibration_error, calibration_text, reliability
from src.storage.files import write_csv

BINARY = ExperimentConfig(replace(TREES, objective="binary"), FOLDS, TargetConfig("classes"))


def class_task(folder: Path, texts: tuple[str, str] = ("no", "yes"), metric: str = "roc_auc", known: bool = True) -> Path:
    """Write a task of 54 training and 6 test crystals of two classes, which follow the composition but for a few."""
    rows = small_table(60)
    is_one = (rows[TARGET] < rows[TARGET].median()) ^ (np.random.default_rng(3).random(60) < 0.1)
    rows[TARGET] = np.where(is_one, texts[1], texts[0])
    write_task(folder, rows[:54], rows[54:])
    path = folder / "task.toml"
    line = f'metric = "{metric}"\n' + f"classes = {list(texts)}\n".replace("'", '"') * known
    path.write_text(path.read_text().replace('metric = "mae"\n', line).replace("eV/atom", "probability"))
    return folder


def oof(folder: Path, config: ExperimentConfig = BINARY) -> pd.DataFrame:
    run(folder, config)
    return pd.read_csv(folder.parent / "outputs" / folder.name / "exp001/oof.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return class_task(tmp_path / "task")


def test_probabilities_lie_between_zero_and_one_and_tell_classes_apart(folder: Path) -> None:
    found = oof(folder)
    assert set(found["e_form"]) == {0.0, 1.0} and found["e_form_pred"].between(0, 1).all()
    assert METRICS["roc_auc"](*found[["e_form", "e_form_pred"]].to_numpy().T) > 0.6


@pytest.mark.parametrize("texts", [("False", "True"), ("0", "1")])
def test_texts_truth_values_and_numbers_give_the_same(folder: Path, tmp_path: Path, texts: tuple[str, str]) -> None:
    other = class_task(tmp_path / "other", texts, known=False)
    assert oof(other).equals(oof(folder))


def test_an_exchanged_label_order_exchanges_the_probabilities(folder: Path, tmp_path: Path) -> None:
    other = class_task(tmp_path / "other", known=False)
    path = other / "task.toml"
    path.write_text(path.read_text().replace('metric = "roc_auc"', 'metric = "roc_auc"\nclasses = ["yes", "no"]'))
    assert oof(other)["e_form_pred"].to_numpy() == pytest.approx(1 - oof(folder)["e_form_pred"].to_numpy(), abs=1e-6)


def test_a_constant_class_is_predicted_with_a_probability_below_one(tmp_path: Path) -> None:
    found = oof(class_task(tmp_path / "task", ("0", "0"), "logloss", known=False))
    assert (found["e_form"] == 0).all() and found["e_form_pred"].between(0, 0.1, inclusive="neither").all()


def test_a_fold_without_a_class_is_trained_and_scored_over_all_rows(folder: Path) -> None:
    train = pd.read_csv(folder / "train.csv.gz")
    fold = np.where(train[TARGET] == "yes", 0, np.arange(len(train)) % 3)
    write_csv(folder / "folds.csv", pd.DataFrame({"id": train["id"], "fold": fold}))
    with (folder / "task.toml").open("a") as file:
        file.write('folds = "folds.csv"\n')
    assert oof(folder)["e_form_pred"].between(0, 1).all()
    where = ["--data", str(folder), "--outputs", str(folder.parent / "outputs")]
    compare.main(["001", *where])


def test_a_wrong_class_is_named_by_its_row(folder: Path) -> None:
    train = pd.read_csv(folder / "train.csv.gz")
    train.loc[2, TARGET] = "perhaps"
    write_csv(folder / "train.csv.gz", train)
    with pytest.raises(ValueError, match=f"record 4, 'x-2': '{TARGET}' is 'perhaps', not one of the classes 'no', 'yes'"):
        load(folder)


def test_classes_and_numbers_are_not_mixed(folder: Path, task_folder: Path) -> None:
    numbers = ExperimentConfig(TREES, FOLDS)
    for task, config, own, other in ((folder, numbers, "numbers", "classes"), (task_folder, BINARY, "classes", "numbers")):
        with pytest.raises(ValueError, match=rf"it predicts {own}, and .* says metric = '.*', which is for {other}"):
            run(task, config)
    for learner, target in ((BINARY.learner, TargetConfig()), (TREES, TargetConfig("classes"))):
        with pytest.raises(ValueError, match="does not fit the learner"):
            ExperimentConfig(learner, FOLDS, target)


@pytest.mark.parametrize(("metric", "expected"), [("f1", {"no", "yes"}), ("roc_auc", None)])
def test_a_submission_has_class_texts_or_probabilities(tmp_path: Path, metric: str, expected: set[str] | None) -> None:
    task = class_task(tmp_path / "task", metric=metric)
    run(task, BINARY)
    where = ["--data", str(task), "--outputs", str(tmp_path / "outputs")]
    submit.main(["--exps", "001", *where])
    found = pd.read_csv(tmp_path / "outputs/task/submission.csv")[TARGET]
    beside = pd.read_csv(tmp_path / "outputs/task/submission_with_uncertainty.csv")
    assert (set(found) <= expected) if expected else found.between(0, 1).all()
    if expected:
        is_one = found == "yes"
        assert is_one.any() and beside["probability"][is_one].min() > beside["probability"][~is_one].max()
    assert (beside["lower"] <= beside["calibrated"]).all() and (beside["calibrated"] <= beside["upper"]).all()
    compare.main(["001", "--score", *where])
    compare.main(["--submission", str(tmp_path / "outputs/task/submission.csv"), *where])


@pytest.mark.usefixtures("undrawn")
def test_a_network_a_blend_predictions_and_the_report_see_probabilities(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blend, "fit_on_best_scale", lambda *known: (blend.fit_weights(*known, on_logits=True), True))
    roost = GnnConfig(TrainingConfig(3, 16, loss="bce"), network=RoostConfig(4, 1, 8), members=2)
    run(folder, BINARY)
    run(folder, replace(BINARY, learner=roost), "exp003")
    run(folder, replace(BINARY, learner=BlendConfig(("001", "003"))), "exp040")
    runs, where = folder.parent / "outputs/task", ["--data", str(folder), "--outputs", str(folder.parent / "outputs")]
    every = pd.concat([pd.read_csv(runs / f"exp{name}" / f"{which}.csv") for name in ("003", "040") for which in ("oof", "test")])
    assert every["e_form_pred"].between(0, 1).all() and every["spread"].dropna().between(0, 0.5).all()
    compare.main(["001", "003", "040", "--score", *where])
    assert "OOF ROC AUC" in (shown := capsys.readouterr().out) and "in 90%" not in shown
    predictions_are_those_of_the_submission("040", runs, where)
    report.main(["001", "003", "040", *where])
    html = (runs / "report.html").read_text(encoding="utf-8")
    assert "Calibration of the probabilities" in html and "log loss" in html


def predictions_are_those_of_the_submission(number: str, runs: Path, where: list[str]) -> None:
    submit.main(["--exps", number, *where])
    predict.main([str(runs.parents[1] / "task/test.csv.gz"), "--exps", number, *where, "--out", str(runs / "predictions.csv")])
    predicted = pd.read_csv(runs / "predictions.csv")
    submitted = pd.read_csv(runs / "submission_with_uncertainty.csv")
    assert predicted["prediction"].to_numpy() == pytest.approx(submitted["probability"].to_numpy(), abs=1e-6)
    assert predicted["lower"].to_numpy() == pytest.approx(submitted["lower"].to_numpy(), abs=1e-3)


@pytest.mark.parametrize(
    ("network", "graph"),
    [
        (NETWORK.network, NETWORK.graph),
        (AlignnConfig(n_channels=8, n_alignn_layers=1, n_gcn_layers=1), GraphConfig(r_max=3.5, r_angle=3.0)),
        (RoostConfig(4, 1, 8), GraphConfig()),
    ],
    ids=["nequip", "alignn", "roost"],
)
def test_every_kind_of_network_tells_classes_apart(
    folder: Path, network: NetworkConfig, graph: GraphConfig, capsys: pytest.CaptureFixture
) -> None:
    learner = GnnConfig(TrainingConfig(2, 16, loss="bce"), graph=graph, network=network)
    found = oof(folder, replace(BINARY, learner=learner, folds=FoldConfig(n_folds=2)))
    assert found["e_form_pred"].between(0, 1, inclusive="neither").all() and found["e_form_pred"].std() > 0
    where = ["--data", str(folder), "--outputs", str(folder.parent / "outputs")]
    compare.main(["001", "--score", *where])
    assert "OOF ROC AUC" in capsys.readouterr().out
    predictions_are_those_of_the_submission("001", folder.parent / "outputs/task", where)


@pytest.mark.parametrize("texts", [("insulator", "metal"), ("False", "True"), ("0", "1")])
def test_new_task_finds_classes_and_proposes_the_area_under_the_curve(tmp_path: Path, texts: tuple[str, str]) -> None:
    files = class_task(tmp_path / "files", texts)
    named = {name: files / f"{name}.csv.gz" for name in ("train", "test")}
    named["sample_submission"] = files / "sample_submission.csv"
    text = new_task(tmp_path / "mine", named, None)
    found = read_task(tmp_path / "mine")
    assert (found.metric, found.classes, found.unit) == ("roc_auc", texts, "probability") and repr(texts[1]) in text
    with pytest.raises(ValueError, match="--metric: say how"):
        new_task(tmp_path / "other", {"train": input_table(tmp_path, texts)}, None, targets=["number"])
    with pytest.raises(ValueError, match="--metric f1 is for two classes"):
        new_task(tmp_path / "other", {"train": input_table(tmp_path, texts)}, "f1", targets=["number"])


def input_table(folder: Path, texts: tuple[str, str]) -> Path:
    """Write a table whose target is a number."""
    path = folder / "table.csv"
    write_csv(path, small_table(20).rename(columns={TARGET: "number"}).assign(kind=texts[0]))
    return path


def test_the_autopilot_looks_at_classes_and_times_a_learner_of_them(folder: Path) -> None:
    data = load(folder)
    assert "of the second" in "\n".join(look_at(data).lines()) and measure(BINARY, data, {}).train > 0


def test_a_record_of_classes_has_decisions_and_tells_balanced_accuracy_from_the_area_under_the_curve(tmp_path: Path) -> None:
    target, pred = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.45, 0.4, 0.9])
    found = fold_record(list("abcd"), target, pred, {}, 1.0, threshold=0.42)
    assert found["data"] == {"a": False, "b": True, "c": False, "d": True}
    assert found["scores"]["rocauc"] == found["scores"]["balanced_accuracy"] == 0.5
    assert found["parameters"]["roc_auc"] == 0.75 and found["parameters"]["probabilities"] == pred.tolist()
    content = record("matbench_glass", [found, found], {"algorithm": "ours", "cpu_seconds": 2.0})
    shown = board("matbench_glass", "probability", content).astype(str)
    assert "0.5000" in shown.to_string() and "0.7500" in shown.to_string()
    path = tmp_path / "matbench_glass" / "plain.json.gz"
    write_record(path, content)
    row = ledger._record(path)
    assert (row["metric"], row["unit"], row["oof"], row["cpu_seconds"]) == ("balanced_accuracy", "probability", 0.5, 2.0)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "f1"])
def test_the_best_threshold_is_that_of_a_scan_by_scikit_learn(name: str) -> None:
    rng = np.random.default_rng(0)
    target = (rng.random(80) < 0.3).astype(float)
    pred = np.round(np.clip(0.3 * target + 0.7 * rng.random(80), 0, 1), 1)
    score = getattr(reference, f"{name}_score")
    best = max(score(target, pred > threshold) for threshold in np.arange(-0.05, 1.1, 0.1))
    assert score(target, pred > best_threshold(name, target, pred)) == pytest.approx(best)
    positives = [((pred > 0.5) & (target == one)).sum() for one in (1, 0)]
    of_curve = METRICS[name].curve(*positives, target.sum(), (1 - target).sum())
    assert METRICS[name](target, pred) == pytest.approx(score(target, pred > 0.5)) == of_curve


@pytest.mark.parametrize(
    ("target", "pred", "threshold"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], 0.4),  # in the middle of the gap
        ([0, 1, 0, 1], [0.1, 0.3, 0.5, 0.7], 0.6),  # as good as 0.2, and nearer to 0.5
        ([1, 1, 1, 0], [0.2, 0.4, 0.6, 0.8], -0.4),  # all are ones
        ([0, 0, 0, 1], [0.8, 0.6, 0.4, 0.2], 0.9),  # none is
        ([1, 1, 1, 1], [0.2, 0.4, 0.6, 0.8], 0.5),  # nothing can be chosen
    ],
)
def test_the_best_threshold_is_the_one_found_by_hand(target: list[float], pred: list[float], threshold: float) -> None:
    assert best_threshold("accuracy", np.array(target, dtype=float), np.array(pred)) == pytest.approx(threshold)


@pytest.mark.parametrize("name", ["accuracy", "f1"])
def test_decisions_are_scored_with_the_threshold_of_the_other_folds_or_of_the_training_rows(name: str) -> None:
    rng = np.random.default_rng(4)
    target, fold = (rng.random(200) < 0.3).astype(float), np.arange(200) % 4
    pred = 0.3 * target + 0.5 * rng.random(200)
    score, known = getattr(reference, f"{name}_score"), (1 - target, 1 - pred)
    assert scores(target, pred, name, known=known)[name] == pytest.approx(score(target, pred > best_threshold(name, *known)))
    chosen = np.array([pred[k] > best_threshold(name, target[fold != fold[k]], pred[fold != fold[k]]) for k in range(200)])
    assert scores(target, pred, name, fold)[name] == pytest.approx(score(target, chosen))
    assert scores(target, pred, name, known=known)["logloss"] == scores(target, pred, name)["logloss"]


def test_a_fold_is_decided_without_its_own_labels() -> None:
    rng = np.random.default_rng(1)
    target, pred, fold = (rng.random(60) < 0.5).astype(float), rng.random(60), np.arange(60) % 4
    other = np.where(fold == 2, 1 - target, target)
    own = [decided("accuracy", one, pred, fold)[fold == 2] for one in (target, other)]
    assert np.array_equal(*own)
    calibrated = [calibrated_oof(one, pred, fold)[fold == 2] for one in (target, other)]
    assert np.array_equal(*calibrated)


def two_parts(adds_up: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return classes, probabilities of two parts, (400, 2), and folds: the truth is the mean of their logits, or of them."""
    rng = np.random.default_rng(0)
    logits, fold = rng.normal(scale=4, size=(400, 2)), np.arange(400) % 5
    pred = expit(logits)
    chance = expit(logits.mean(axis=1)) if adds_up else pred.mean(axis=1)
    return (rng.random(400) < chance).astype(float), pred, fold


@pytest.mark.parametrize("on_logits", [False, True])
def test_what_weights_of_classes_minimise_is_the_log_loss_of_their_blend(
    on_logits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, (target, pred, _) = [], two_parts(adds_up=True)
    monkeypatch.setattr(optimize, "minimize", lambda loss, start, **_: seen.append(loss) or SimpleNamespace(x=start))
    np.testing.assert_array_equal(blend.fit_weights("weights", pred, target, "f1", on_logits), [0.5, 0.5])
    weights, step = np.array([0.3, 0.7]), 1e-5 * np.eye(2)
    value, slope = seen[0](weights)
    assert value == pytest.approx(METRICS["logloss"](target, mixed(pred, weights, on_logits)))
    np.testing.assert_allclose(slope, [(seen[0](weights + one)[0] - seen[0](weights - one)[0]) / 2e-5 for one in step], rtol=1e-6)


@pytest.mark.parametrize("adds_up", [True, False])
@pytest.mark.parametrize("method", ["weights", "hill"])
def test_a_blend_is_of_logits_where_the_evidence_of_its_parts_adds_up(method: str, adds_up: bool) -> None:
    target, pred, fold = two_parts(adds_up)
    found = fit_blend(method, target, pred, fold, "logloss")
    assert (found.fold_on_logits == adds_up).all() and found.on_logits == adds_up
    scales = [mixed(pred, np.array([0.5, 0.5]), on_logits) for on_logits in (adds_up, not adds_up)]
    chosen, other = (METRICS["logloss"](target, one) for one in scales)
    assert METRICS["logloss"](target, found.nested_pred) < (chosen + other) / 2
    np.testing.assert_allclose(found.mix(pred), found.naive_pred)
    others = [mixed(pred, np.array([share, 1 - share]), adds_up) for share in np.linspace(0, 1, 101)]
    best = min(METRICS["logloss"](target, one) for one in others)
    assert METRICS["logloss"](target, found.naive_pred) < best + (1e-6 if method == "weights" else 1e-3)
    assert found.logits_text == (", of logits in 5 of 5 folds" if adds_up else "")


@pytest.mark.parametrize(("method", "metric"), [("weights", "mae"), ("hill", "rmsle"), ("ridge", "logloss")])
def test_numbers_and_ridge_are_blended_as_they_are_even_if_logits_would_do_better(method: str, metric: str) -> None:
    target, pred, fold = two_parts(adds_up=True)
    found = fit_blend(method, target if method == "ridge" else expit(np.log(pred / (1 - pred)).mean(axis=1)), pred, fold, metric)
    assert not found.on_logits and not found.fold_on_logits.any() and found.logits_text == ""


def test_a_fold_has_no_say_in_the_scale_of_its_blend() -> None:
    target, pred, fold = two_parts(adds_up=True)
    other = np.where(fold == 2, pred.mean(axis=1) < 0.5, target)  # all wrong
    one, two = (fit_blend("weights", truth, pred, fold, "logloss") for truth in (target, other))
    assert one.fold_on_logits[2] and not two.fold_on_logits[[0, 1, 3, 4]].any() and not two.on_logits
    assert np.array_equal(one.nested_pred[fold == 2], two.nested_pred[fold == 2])


def test_calibration_brings_probabilities_closer_to_the_truth_and_keeps_their_order() -> None:
    rng = np.random.default_rng(2)
    chance = rng.random(2000)
    target = (rng.random(2000) < chance).astype(float)
    sure = chance**3 / (chance**3 + (1 - chance) ** 3)
    found = VennAbers.fit(target, sure)
    new = np.linspace(0, 1, 50)
    assert (np.diff(found.calibrated(new)) >= 0).all() and (found.upper >= found.lower).all()
    assert METRICS["logloss"](target, calibrated_oof(target, sure, np.arange(2000) % 5)) < METRICS["logloss"](target, sure) - 0.05


def test_bounds_are_isotonic_regressions_with_the_new_row_as_a_zero_and_as_a_one() -> None:
    rng = np.random.default_rng(4)
    pred = rng.choice(rng.random(9), 60)  # many are equal, and the grid has values between them
    target = (rng.random(60) < pred).astype(float)
    found = VennAbers.fit(target, pred)
    for value, *bounds in zip(found.grid, found.lower, found.upper, strict=True):
        both = [IsotonicRegression().fit([*pred, value], [*target, label]).predict([value])[0] for label in (0, 1)]
        assert bounds == pytest.approx(both)
    assert len(VennAbers.fit(np.arange(200) % 2 * 1.0, np.arange(200) / 200).grid) == 50


def test_a_calibrated_probability_lies_between_interpolated_bounds() -> None:
    found = VennAbers(np.array([0.0, 1.0]), np.array([0.0, 0.4]), np.array([0.2, 1.0]))
    np.testing.assert_allclose(found.bounds(np.array([0.25])), [[0.1], [0.4]])
    np.testing.assert_allclose(found.calibrated(np.array([0.25])), 0.4 / 1.3)


def test_the_calibration_error_is_the_mean_over_rows_of_what_bins_of_equal_size_are_off_by() -> None:
    order = np.random.default_rng(0).permutation(15)  # five bins of two rows, and five of one
    pred, target = np.linspace(0.1, 0.8, 15)[order], np.array([0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1.0])[order]
    of_bins = pd.DataFrame({"pred": pred, "target": target}).groupby(np.where(order < 10, order // 2, order - 5))
    np.testing.assert_allclose(reliability(target, pred), np.column_stack([of_bins.mean(), of_bins.size()]))
    off = (of_bins["pred"].mean() - of_bins["target"].mean()).abs().to_numpy()
    assert calibration_error(target, pred) == pytest.approx((off[:5].sum() * 2 + off[5:].sum()) / 15)


def test_a_certain_part_counts_for_a_trillion_to_one() -> None:
    blended = mixed(np.array([[0.0, 0.5], [0.5, 1.0]]), np.array([0.5, 0.5]), True)
    np.testing.assert_allclose([blended[0], 1 - blended[1]], 1e-6, rtol=1e-3)


def test_a_ridge_blend_of_classes_stays_between_zero_and_one() -> None:
    rng = np.random.default_rng(0)
    part = rng.random(400)
    target = (rng.random(400) < 2 * part - 0.5).astype(float)  # more extreme than both parts
    pred = np.stack([part, (part + 0.5) / 2], axis=1)
    found = fit_blend("ridge", target, pred, np.arange(400) % 5, "accuracy")
    plain = pred @ found.weights
    assert plain.min() < -0.1 and plain.max() > 1.1
    np.testing.assert_array_equal(found.naive_pred, np.where(plain < 0, 0, np.where(plain > 1, 1, plain)))
    assert (found.nested_pred.min(), found.nested_pred.max()) == (0, 1)


def test_the_residual_of_a_class_tells_the_class_and_the_share_in_training() -> None:
    counts = np.eye(119, dtype=int)[[8, 9, 8, 11]]
    target = np.array([0.0, 1.0, 0.0, 0.0])
    normalizer = TargetNormalizer.fit(counts, target, TargetConfig("classes"))
    normalizer = TargetNormalizer.from_json(normalizer.to_json())
    classes, log_odds = class_of(normalizer.normalize(counts, target))
    assert np.array_equal(classes, target) and log_odds == pytest.approx(np.log(2 / 4))
    assert normalizer.denormalize(counts, np.zeros(4)) == pytest.approx(1 / 3)


def test_what_is_said_of_probabilities_is_their_loss_and_error_before_and_after() -> None:
    rng = np.random.default_rng(1)
    target, pred, fold = (rng.random(60) < 0.5).astype(float), rng.random(60), np.arange(60) % 4
    said = [
        f"log loss {reference.log_loss(target, one):.4f}, calibration error {calibration_error(target, one):.3f}"
        for one in (pred, calibrated_oof(target, pred, fold))
    ]
    assert calibration_text(target, pred, fold) == f"out of fold: {said[0]}; calibrated on the other folds: {said[1]}"
