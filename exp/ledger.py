"""Writes the ledger into exp/README.md, and its short form into README.md, between markers, from the published results.

python exp/ledger.py            # write
python exp/ledger.py --check    # only say whether the committed tables are what would be written

An experiment's question is the first line of its config's docstring, its parent stands behind `Parent:`, its verdict in
exp/verdicts.toml. Run it once a new experiment is published; the test scores come from the task's test labels.
"""

import argparse
import ast
import re
import sys
import tomllib
from functools import lru_cache
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from exp.compare import read_labels, to_markdown
from src.command import one_message
from src.config.load import track_of
from src.data.task import read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS, ROOT, shown
from src.results.comparison import paired_difference, score_rows
from src.results.predictions import Predictions, find_predictions

README = EXPERIMENTS / "README.md"
VERDICTS = EXPERIMENTS / "verdicts.toml"
START, END = "<!-- ledger: python exp/ledger.py writes what stands between these marks -->", "<!-- /ledger -->"
SHORT = ["exp", "question", "OOF MAE", "OOF RMSE", "test MAE", "test RMSE", "CPU s"]
NOWHERE = Path("/nonexistent")  # as outputs folder: published results alone
TITLES = {
    "closed": "Closed track: the task's data and published element tables",
    "open": "Open track: models trained on other data come in",
}


def question_and_parent(name: str) -> tuple[str, str | None]:
    """The first line of a config's docstring, and the experiment behind `Parent:` (None: none)."""
    path = EXPERIMENTS / name / "config.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    parent = re.search(r"^Parent: (exp\d{3}|none)\b", docstring, re.MULTILINE)
    if parent is None:
        raise ValueError(f"{path}: the docstring has no line 'Parent: expNNN. Changed: ...' or 'Parent: none'")
    return docstring.splitlines()[0].rstrip("."), None if parent[1] == "none" else parent[1]


def published(name: str) -> Predictions | None:
    """The published results of an experiment, None where there are none."""
    if not (EXPERIMENTS / name / "results" / "metrics.json").is_file():
        return None
    return find_predictions(name, DEFAULT_TASK.name, NOWHERE)


def ledger_row(member: Predictions, labels: pd.Series, verdicts: dict[str, str]) -> dict[str, str]:
    """One row of the ledger."""
    question, parent_name = question_and_parent(member.name)
    parent = published(parent_name) if parent_name else None
    (row,) = score_rows([member], labels)
    number = member.name.removeprefix("exp")
    return {
        "exp": number,
        "question": question.replace("|", "\\|"),
        "parent": parent_name.removeprefix("exp") if parent_name else "—",
        "OOF MAE": f"{row['oof_mae']:.4f} ± {row['fold_mae_sd']:.4f}",
        "OOF RMSE": f"{row['oof_rmse']:.4f}",
        "test MAE": f"{row['test_mae']:.4f}",
        "test RMSE": f"{row['test_rmse']:.4f}",
        "in 90%": f"{row['inside_90']:.1%}",
        "CPU s": f"{row['cpu_seconds']:.0f}",
        "parameters": str(row["n_parameters"]),
        "ΔMAE to parent, OOF (95%)": str(paired_difference(parent, member)) if parent else "",
        "verdict": verdicts.get(number, ""),
    }


@lru_cache
def tables() -> dict[str, pd.DataFrame]:
    """The table of each track by its title; ValueError where a verdict is for an experiment that is not published."""
    labels = read_labels(read_task(DEFAULT_TASK))
    verdicts = tomllib.loads(VERDICTS.read_text(encoding="utf-8"))
    members = [member for path in sorted(EXPERIMENTS.glob("exp[0-9][0-9][0-9]")) if (member := published(path.name))]
    foreign = set(verdicts) - {member.name.removeprefix("exp") for member in members}
    if foreign:
        raise ValueError(f"{VERDICTS}: verdicts for {sorted(foreign)}, which are not published")
    found = {}
    for name, title in TITLES.items():
        rows = [ledger_row(member, labels, verdicts) for member in members if track_of(member.name) == name]
        if rows:
            found[title] = pd.DataFrame(rows)
    return found


def ledger(short: bool) -> str:
    """The Markdown of both tracks, all columns or SHORT ones."""
    return "\n\n".join(f"### {title}\n\n{to_markdown(table[SHORT] if short else table)}" for title, table in tables().items())


def with_ledger(path: Path) -> str:
    """The text of a README with the tables as they should be; ValueError where its markers are missing."""
    text = path.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"{path}: expected the lines {START!r} and {END!r} once each")
    head, rest = text.split(START)
    return f"{head}{START}\n\n{ledger(short=path != README)}\n\n{END}{rest.split(END)[1]}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the tables are out of date")
    args = parser.parse_args(argv)
    with one_message("ledger"):
        wanted = {path: with_ledger(path) for path in (README, ROOT / "README.md")}
    for path, text in wanted.items():
        same = path.read_text(encoding="utf-8") == text
        if args.check and not same:
            sys.exit(f"ledger: {shown(path)} is out of date; run: python exp/ledger.py")
        if not same:
            path.write_text(text, encoding="utf-8")
        print(f"{shown(path)}: {'as it was' if same else 'written'}")


if __name__ == "__main__":
    main()
