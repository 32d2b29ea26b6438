"""The tables of published results in exp/README.md."""

import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from src.config.load import experiment_names, question_and_parent, track_of
from src.data.task import read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS, OUTPUTS, experiment_folders
from src.results.comparison import INTERVALS, p_cells, score_cells, score_rows, seconds_text, to_markdown
from src.results.difference import Difference, holm_of, paired_difference
from src.results.folder import METRICS, Kinds
from src.results.labels import read_labels
from src.results.metrics import METRICS as SCORES
from src.results.predictions import Predictions, find_predictions, published_folder
from src.results.sealed import sealed_metrics
from src.results.surroundings import Points, points_of
from src.storage import names
from src.storage.files import read_json
from src.storage.remedy import RESULTS

VERDICTS = EXPERIMENTS / "verdicts.toml"
START, END = "<!-- ledger: written by python exp/ledger.py -->", "<!-- /ledger -->"
PUBLISHED_ONLY = Path("/nonexistent")  # as the outputs folder
PARENT = f"ΔMAE to parent, OOF ({INTERVALS})"
OTHERS = "Other tasks"
ABOUT: Kinds = METRICS | {"metric": str, "unit": str}  # what is published of other tasks
TITLES = {
    "closed": "Closed track: the task's data and published element tables",
    "open": "Open track: with models trained on other data",
}


def updated_readmes() -> dict[Path, str]:
    """Return exp/README.md and the text that it should have: all results."""
    tables = ledger_tables()
    sections = [f"### {TITLES[track]}\n\n{_n_differences(table)}\n\n{to_markdown(table)}" for track, table in tables.items()]
    if rows := other_rows(set().union(*(table["exp"] for table in tables.values()))):
        sections.append(f"### {OTHERS}\n\n{to_markdown(pd.DataFrame(rows))}")
    path = EXPERIMENTS / "README.md"
    return {path: between_markers(path, "\n\n".join(sections))}


def _n_differences(table: pd.DataFrame) -> str:
    n = int((table["Holm p"] != "").sum())
    return f"{n} experiments are compared with a parent; Holm p is corrected for these {n} comparisons."


def between_markers(path: Path, tables: str) -> str:
    """Return the text of a file with `tables` between its markers."""
    text = path.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"{path}: expected the lines {START!r} and {END!r} once each")
    head, rest = text.split(START)
    return f"{head}{START}\n\n{tables}\n\n{END}{rest.split(END)[1]}"


def ledger_tables() -> dict[str, pd.DataFrame]:
    """Return the table of each track; raise ValueError if a verdict is on an experiment that is not published."""
    task = read_task(DEFAULT_TASK)
    labels = read_labels(task)
    verdicts = read_verdicts()
    published = [
        name
        for name in experiment_names()
        if name in sealed_metrics() or (published_folder(name, task) / names.METRICS).is_file()
    ]
    members = {name: find_predictions(name, task, PUBLISHED_ONLY) for name in published}
    anywhere = {*published, *(path.name for path in experiment_folders() if _other_metrics(path))}
    if foreign := set(verdicts) - {name.removeprefix("exp") for name in anywhere}:
        raise ValueError(f"{VERDICTS}: verdicts on {sorted(foreign)}, which are not published")
    points = points_of(task, OUTPUTS, next(iter(members.values())))
    tables = {}
    for track in TITLES:
        own = [name for name in published if track_of(name) == track]
        rows = track_rows(own, members, labels, points)
        tables[track] = pd.DataFrame([row | {"verdict": verdicts.get(row["exp"], "")} for row in rows])
    return tables


def read_verdicts() -> dict[str, str]:
    """Return the verdict on each experiment by its number."""
    return tomllib.loads(VERDICTS.read_text(encoding="utf-8"))


def _other_metrics(experiment: Path) -> list[Path]:
    """Return the published metrics of an experiment on other tasks: results/<task>/ or results/<task>/<target>/metrics.json."""
    return sorted(path for depth in ("*", "*/*") for path in experiment.glob(f"{RESULTS}/{depth}/{names.METRICS}"))


def other_rows(on_default: Collection[str]) -> list[dict[str, str]]:
    """Return a row for each result on another task, by task and target. on_default: the numbers that have rows of their own."""
    verdicts = read_verdicts()
    rows = []
    for experiment in experiment_folders():
        number = experiment.name.removeprefix("exp")
        for path in _other_metrics(experiment):
            task, *target = path.parent.relative_to(experiment / RESULTS).parts
            verdict = "" if number in on_default else verdicts.get(number, "")
            row = {"task": task, "target": "".join(target), "exp": number, "question": _question(experiment.name)}
            rows.append(row | _other_scores(read_json(path, ABOUT)) | {"verdict": verdict})
    return sorted(rows, key=lambda row: (row["task"], row["target"]))


def _other_scores(found: dict) -> dict[str, str]:
    """Return the scores of published metrics as people read them, the task's metric first."""
    metrics = dict.fromkeys((found["metric"], "mae"))
    oof, test = (
        ", ".join(f"{SCORES[name].label(found['unit'])} {own[key + name]:.4f}" for name in metrics) if own else ""
        for key, own in (("oof_", found), ("", found.get("test", {})))
    )
    return {"OOF": oof, "test": test, "CPU s": seconds_text(found)}


def _question(name: str) -> str:
    return question_and_parent(name)[0].replace("|", "\\|")


def track_rows(names: Sequence[str], members: dict[str, Predictions], labels: pd.Series, points: Points) -> list[dict[str, str]]:
    """Return the rows of a track's ledger but for their verdicts. members: the published experiments by name."""
    gains = [gain_to_parent(name, members) for name in names]
    return [
        ledger_row(name, members[name], labels, points) | {PARENT: str(gain or "")} | p_cells(gain, p)
        for name, gain, p in zip(names, gains, holm_of(gains), strict=True)
    ]


def gain_to_parent(name: str, members: dict[str, Predictions]) -> Difference | None:
    """Return the difference of an experiment to its parent, None if that is not published."""
    parent = question_and_parent(name)[1]
    return paired_difference(members[parent], members[name]) if parent in members else None


def ledger_row(name: str, member: Predictions, labels: pd.Series, points: Points) -> dict[str, str]:
    """Return an experiment's question, parent and scores."""
    parent = question_and_parent(name)[1]
    (row,) = score_rows([member], labels, points)
    return {
        "exp": name.removeprefix("exp"),
        "question": _question(name),
        "parent": parent.removeprefix("exp") if parent else "—",
        **score_cells(row),
    }
