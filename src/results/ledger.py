"""The tables of published results in exp/README.md and README.md."""

import tomllib
from pathlib import Path

import pandas as pd

from src.config.load import question_and_parent, track_of
from src.data.task import read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS, ROOT, experiment_folders
from src.results.comparison import paired_difference, score_cells, score_rows, to_markdown
from src.results.labels import read_labels
from src.results.predictions import Predictions, find_predictions, published_folder
from src.storage.names import METRICS

VERDICTS = EXPERIMENTS / "verdicts.toml"
START, END = "<!-- ledger: written by python exp/ledger.py -->", "<!-- /ledger -->"
SHORT_ROWS, SHORT_COLUMNS = ["001", "022", "010", "020", "040"], ["exp", "question", "OOF MAE", "test MAE", "CPU s"]
PUBLISHED_ONLY = Path("/nonexistent")  # as the outputs folder
TITLES = {
    "closed": "Closed track: the task's data and published element tables",
    "open": "Open track: with models trained on other data",
}


def updated_readmes() -> dict[Path, str]:
    """Return each README and the text that it should have: all results in exp/, a few at the top."""
    tables = ledger_tables()
    full = "\n\n".join(f"### {TITLES[track]}\n\n{to_markdown(table)}" for track, table in tables.items())
    short = tables["closed"].set_index("exp", drop=False).loc[SHORT_ROWS, SHORT_COLUMNS]
    texts = {EXPERIMENTS / "README.md": full, ROOT / "README.md": to_markdown(short)}
    return {path: between_markers(path, text) for path, text in texts.items()}


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
    verdicts = tomllib.loads(VERDICTS.read_text(encoding="utf-8"))
    names = [path.name for path in experiment_folders() if (published_folder(path.name, task) / METRICS).is_file()]
    members = {name: find_predictions(name, task, PUBLISHED_ONLY) for name in names}
    foreign = set(verdicts) - {name.removeprefix("exp") for name in names}
    if foreign:
        raise ValueError(f"{VERDICTS}: verdicts on {sorted(foreign)}, which are not published")
    rows = {name: ledger_row(name, members, labels) | {"verdict": verdicts.get(name.removeprefix("exp"), "")} for name in names}
    tracks = {name: track_of(name) for name in names}
    return {track: pd.DataFrame([rows[name] for name in names if tracks[name] == track]) for track in TITLES}


def ledger_row(name: str, members: dict[str, Predictions], labels: pd.Series) -> dict[str, str]:
    """Return one row of the ledger but for its verdict. members: the published experiments by name."""
    question, parent = question_and_parent(name)
    (row,) = score_rows([members[name]], labels)
    gain = str(paired_difference(members[parent], members[name])) if parent in members else ""
    return {
        "exp": name.removeprefix("exp"),
        "question": question.replace("|", "\\|"),
        "parent": parent.removeprefix("exp") if parent else "—",
        **score_cells(row),
        "ΔMAE to parent, OOF (95%)": gain,
    }
