"""The ledger: exp/ledger.csv has a row for every result ever published, and exp/README.md is the page for readers.

A row is computed once, from published results, and stays. Three columns are written by hand: the question in a few words, the
verdict, and the outcome of rows that have no difference from a parent.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from src.config.catalogue import question_and_parent, track_of
from src.data.task import read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS, OUTPUTS, experiment_folders
from src.results import matbench
from src.results.comparison import is_lower_bound, score_rows
from src.results.difference import Verdict, holm, paired_differences
from src.results.folder import METRICS_KINDS
from src.results.labels import read_labels
from src.results.metrics import METRICS as SCORES
from src.results.predictions import Predictions, find_predictions, published_folder
from src.results.surroundings import points_of
from src.storage import names
from src.storage.files import RESULTS, read_json

LEDGER = EXPERIMENTS / "ledger.csv"
KEY = ["number", "task", "target", "record"]  # record: of a benchmark's official folds; empty for others
START, LEDGER_END = "<!-- ledger: written by python exp/ledger.py -->", "<!-- /ledger -->"
PUBLISHED_ONLY = Path("/nonexistent")  # as the outputs folder
OUTCOMES: dict[Verdict, str] = {"wins": "wins", "loses": "loses", "no difference": "level", "undecided": "undecided"}
TRACKS = {"closed": "closed track", "open": "open track: with models trained on other data"}
OWN = {  # column -> what `score_rows` calls it
    "oof": "oof_mae", "sd": "fold_mae_sd", "rmse": "oof_rmse", "test": "test_mae", "test_rmse": "test_rmse",
    "in_90": "inside_90", "cpu_seconds": "cpu_seconds", "n_parameters": "n_parameters",
}  # fmt: skip
Row = dict[str, object]


def read_ledger() -> pd.DataFrame:
    """Return the ledger as text, cell by cell; a cell is empty if it has no value."""
    return pd.read_csv(LEDGER, dtype=str, keep_default_na=False)


def updated_ledger() -> pd.DataFrame:
    """Return the ledger with a row for each result that has none, and Holm's p-values of living experiments."""
    ledger = read_ledger()
    rows = [{column: _cell(row.get(column)) for column in ledger} for row in _new_rows(set(ledger[KEY].agg(tuple, axis=1)))]
    ledger = pd.concat([ledger, pd.DataFrame(rows, columns=ledger.columns)], ignore_index=True)
    for track in TRACKS:
        tested = ledger[(ledger["track"] == track) & (ledger["p"] != "")]
        corrected = pd.Series(holm(tested["p"].astype(float).tolist()), index=tested.index).map(repr)
        living = tested.index[tested["commit"] == ""]
        ledger.loc[living, "p_holm"] = corrected[living]
    order = ledger.assign(is_other=ledger["task"] != DEFAULT_TASK.name)
    return ledger.loc[order.sort_values(["is_other", "task", "target", "number", "record"]).index]


def updated_files() -> dict[Path, str]:
    """Return the ledger and its page, and the text that each should have."""
    ledger, page = updated_ledger(), EXPERIMENTS / "README.md"
    text = between_markers(page.read_text(encoding="utf-8"), ledger_text(ledger))
    return {LEDGER: ledger.to_csv(index=False, lineterminator="\n"), page: text}


def ledger_text(ledger: pd.DataFrame) -> str:
    """Return the tables of exp/README.md: a line for each result, by task and error."""
    scored = ledger[ledger["oof"] != ""]
    sections = []
    for (_, task, target, track), rows in scored.groupby([scored["task"] != DEFAULT_TASK.name, "task", "target", "track"]):
        metric = SCORES[rows["metric"].iloc[0]]
        title = ", ".join(filter(None, (task, target, TRACKS[track], metric.label(rows["unit"].iloc[0]))))
        rows = rows.sort_values("oof", key=lambda column: column.astype(float), ascending=not metric.larger_is_better)
        cells = {
            "exp": rows["number"],
            "question": rows["short"],
            "OOF": rows.apply(_score, axis=1, column="oof"),
            "test": rows.apply(_score, axis=1, column="test"),
            "CPU s": rows.apply(seconds, axis=1),
            "verdict": rows["outcome"],
        }
        sections.append(f"### {title}\n\n{_table(pd.DataFrame(cells))}")
    others = ledger.drop(scored.index)[["number", "short", "outcome"]].set_axis(["exp", "question", "verdict"], axis=1)
    return "\n\n".join([*sections, f"### Without a score of their own\n\n{_table(others)}"])


def between_markers(text: str, tables: str) -> str:
    """Return a text with `tables` between its markers; raise ValueError if it does not have these once each."""
    if text.count(START) != 1 or text.count(LEDGER_END) != 1 or text.index(START) > text.index(LEDGER_END):
        raise ValueError(f"{EXPERIMENTS / 'README.md'}: expected the lines {START!r} and {LEDGER_END!r} once each")
    head, rest = text.split(START)
    return f"{head}{START}\n\n{tables}\n\n{LEDGER_END}{rest.split(LEDGER_END)[1]}"


def seconds(row: Mapping[str, str] | pd.Series) -> str:
    """Return the CPU seconds of a row for display; ≥ if they are a lower bound."""
    return f"{'≥ ' if row['lower_bound'] else ''}{float(row['cpu_seconds']):,.0f}"


def _score(row: pd.Series, column: str) -> str:
    return f"{float(row[column]):.{4 if float(row['oof']) < 10 else 2}f}" if row[column] else ""


def _table(rows: pd.DataFrame) -> str:
    """Return rows in Markdown without spaces, so that the words of the page are those of its cells."""
    return "\n".join("|".join(["", *line, ""]) for line in (list(rows), ["---"] * rows.shape[1], *rows.to_numpy()))


def _cell(value: object) -> str:
    """Return a value as text that gives the same value again; nothing for None, `yes` or nothing for a truth."""
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    return repr(value) if isinstance(value, float) else str(value)


def _new_rows(known: set[tuple[str, ...]]) -> Iterator[Row]:
    """Yield the rows of published results of living experiments but for known ones. known: values of KEY."""
    task, members = read_task(DEFAULT_TASK), []
    for folder in experiment_folders():
        number = folder.name.removeprefix("exp")
        if (published_folder(folder.name, task) / names.METRICS_FILE).is_file() and (number, task.name, "", "") not in known:
            members.append(find_predictions(number, task, PUBLISHED_ONLY))
        results = folder / RESULTS
        for path in sorted([*results.glob(f"*/{names.METRICS_FILE}"), *results.glob(f"*/*/{names.METRICS_FILE}")]):
            other, *target = path.parent.relative_to(results).parts
            if (number, other, "".join(target), "") not in known:
                yield _about(folder.name) | {"task": other, "target": "".join(target)} | _other(path)
        for path in sorted(results.glob("*/*.json.gz")):
            record = path.name.removesuffix(".json.gz")
            if (number, path.parent.name, "", record) not in known:
                yield _about(folder.name) | {"task": path.parent.name, "record": record} | _record(path)
    if members:
        labels, points = read_labels(task), points_of(task, OUTPUTS, members[0])
        for member in members:
            (scored,) = score_rows([member], labels, points)
            row = {key: scored[column] for key, column in OWN.items()}
            own = {"task": task.name, "metric": "mae", "unit": task.unit, "lower_bound": is_lower_bound(member.metrics)}
            yield _about(member.name) | own | row | _gain(member)


def _about(name: str) -> Row:
    question, parent = question_and_parent(name)
    about: Row = {"number": name.removeprefix("exp"), "question": question, "parent": (parent or "").removeprefix("exp")}
    return about | {"track": track_of(name)}


def _gain(member: Predictions) -> Row:
    """Return the columns of the difference from the parent on the task of this repository; none if it has no result there."""
    _, parent = question_and_parent(member.name)
    if parent is None:
        return {}
    try:
        reference = find_predictions(parent, read_task(DEFAULT_TASK), PUBLISHED_ONLY)
    except FileNotFoundError:
        return {}
    (gain,) = paired_differences(reference, [member])
    row = {"difference": gain.value, "crystals_low": gain.low, "crystals_high": gain.high, "outcome": OUTCOMES[gain.verdict]}
    folds = gain.folds
    return row | ({"folds_low": folds.low, "folds_high": folds.high, "p": folds.p} if folds else {})


def _other(path: Path) -> Row:
    """Return the columns of published metrics of another task."""
    found = read_json(path, METRICS_KINDS | {"metric": str, "unit": str})
    metric, test = found["metric"], found.get("test", {})
    row = {"metric": metric, "unit": found["unit"], "oof": found[f"oof_{metric}"], "rmse": found["oof_rmse"]}
    row |= {"sd": found["fold_mae_sd"] if metric == "mae" else None, "test": test.get(metric), "test_rmse": test.get("rmse")}
    return row | {key: found[key] for key in ("cpu_seconds", "n_parameters")} | {"lower_bound": is_lower_bound(found)}


def _record(path: Path) -> Row:
    """Return the columns of a benchmark's record: the scores are means over its official folds."""
    from src.data.export import MATBENCH  # pymatgen is slow to import

    content = matbench.read_record(path)
    metric, row = "balanced_accuracy" if matbench.is_of_classes(content) else "mae", matbench.own_row(content)
    about = {"metric": metric, "unit": MATBENCH[path.parent.name].unit, "oof": row["score"], "rmse": row.get("rmse")}
    return about | {name: row[name] for name in ("sd", "cpu_seconds")}
