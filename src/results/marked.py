"""The figures in README and docs. Each stands between markers, so that a command writes it and a test compares it.

    one network: <!-- oof 094 -->0.0648<!-- / --> eV/atom      its key is `oof 094`: what is said of exp094 in the ledger
    <!-- table best -->                                        a table of docs/figures.toml, with keys in braces
    ...
    <!-- / -->

Figures that are measured rather than published (seconds, memory) are in docs/figures.toml too, with their commands.
"""

import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from src.paths import EXPERIMENTS, ROOT
from src.results import matbench
from src.results.comparison import to_markdown
from src.results.ledger import read_ledger, seconds
from src.storage import names
from src.storage.files import RESULTS, read_json

DATA = ROOT / "docs" / "figures.toml"
CLOSING, BLOCKS = "<!-- / -->", ("table", "board")
MARKED = re.compile(rf"<!-- ([a-z]+ [^>\n]+) -->.*?{CLOSING}", re.DOTALL)
PHONONS = "matbench_phonons"
NOMAD = ("formation_energy_ev_natom", "bandgap_energy_ev")
IN_BRACES = re.compile(r"\{([a-z]+ [^}\n]+)\}")


def marked_pages() -> list[Path]:
    """Return the pages whose figures stand between markers: README and docs, but not docs/log/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def updated_pages() -> dict[Path, str]:
    """Return each page and the text that it should have."""
    return {path: updated(path.read_text(encoding="utf-8"), path) for path in marked_pages()}


def updated(text: str, path: Path) -> str:
    """Return the text of a page with what belongs between its markers."""

    def written(match: re.Match[str]) -> str:
        key, is_block = match[1], match[1].split()[0] in BLOCKS
        if not is_block and text[: match.start()].endswith("\n"):
            raise ValueError(f"{path}: <!-- {key} --> begins a line, which Markdown would show as it is: put a word before it")
        new = figure(key, path)
        return f"<!-- {key} -->\n\n{new}\n\n{CLOSING}" if is_block else f"<!-- {key} -->{new}{CLOSING}"

    return MARKED.sub(written, text)


def figure(key: str, path: Path) -> str:
    """Return what belongs between the markers of a key; path: the page or file that names it."""
    kind, *words = key.split()
    try:
        return WRITERS[kind](*words)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: nothing is known of <!-- {key} --> ({error}); kinds: {', '.join(WRITERS)}") from error


def _table(name: str) -> str:
    """Return a table of docs/figures.toml, with the command that measured it if there is one."""
    about = _data()["tables"][name]
    text = IN_BRACES.sub(lambda match: figure(match[1], DATA), about["text"].strip())
    return f"{text}\n\n{about['measured']}" if "measured" in about else text


def costs() -> dict[str, dict[str, tuple[float, float]]]:
    """Return CPU seconds and out-of-fold error of the experiments in the picture of costs, by group and label."""
    rows = _rows()
    return {
        group: {label: (float(rows[number,]["cpu_seconds"]), float(rows[number,]["oof"])) for label, number in numbers.items()}
        for group, numbers in _data()["costs"].items()
    }


@cache
def _data() -> dict:
    return tomllib.loads(DATA.read_text(encoding="utf-8"))


@cache
def _rows() -> dict[tuple[str, ...], dict[str, str]]:
    """Return the ledger's rows by number and, of other tasks, target or record."""
    rows = read_ledger().to_dict("records")
    return {tuple(filter(None, (row["number"], row["target"], row["record"]))): row for row in rows}


def _score(column: str) -> Callable[..., str]:
    """Return the function that finds a score by number and, of other tasks, target or record."""
    return lambda *words: f"{float(_rows()[words][column]):.4f}"


def _outcome(number: str) -> str:
    """Return the difference of an experiment from its parent, and its outcome: a win only if both intervals exclude zero."""
    row = _rows()[number,]
    return f"{float(row['difference']):+.4f}, {row['outcome']}"


def _gain(number: str, parent: str) -> str:
    """Return by how much less the out-of-fold error of an experiment is than that of another, in percent."""
    return f"{1 - float(_rows()[number,]['oof']) / float(_rows()[parent,]['oof']):.0%}"


def _contest(*numbers: str) -> str:
    """Return the score of NOMAD 2018, the mean of both columns' RMSLE on its test rows: of the energy, of the gap."""
    return f"{sum(float(_rows()[key]['test']) for key in zip(numbers, NOMAD, strict=True)) / 2:.4f}"


def _coverage(task: str) -> str:
    """Return the least and the largest share of test crystals inside their 90% intervals, over a task's experiments."""
    shares = [float(row["in_90"]) for row in _rows().values() if row["task"] == task and row["in_90"]]
    return f"{min(shares):.0%} to {max(shares):.0%}".replace("% to", " to")


def _mev(*numbers: str) -> str:
    """Return the MAE of both columns on the test rows of NOMAD 2018: of the energy, of the gap."""
    pairs = zip(numbers, NOMAD, strict=True)
    paths = [EXPERIMENTS / f"exp{number}" / RESULTS / "nomad2018" / column / names.METRICS_FILE for number, column in pairs]
    energy, gap = (1000 * read_json(path, {"test": dict})["test"]["mae"] for path in paths)
    return f"{energy:.1f} meV per cation and {gap:.1f} meV"


def _fold(name: str, folds: str) -> str:
    """Return the MAE of an official fold of matbench_phonons, or of some (1-4), in a published record, such as 026/inner."""
    first, _, last = folds.partition("-")
    results = _content(name, PHONONS)["tasks"][PHONONS]["results"]
    own = [results[f"fold_{k}"]["scores"]["mae"] for k in range(int(first), int(last or first) + 1)]
    return f"{sum(own) / len(own):.2f}"


def _board(limit: str, task: str = PHONONS, unit: str = "1/cm") -> str:
    """Return the rows of a task of matbench within a limit of their MAE or, of classes, of their balanced accuracy."""
    table = matbench.board(task, unit).drop(columns="max error", errors="ignore")
    score = table.iloc[:, 1].str.strip("*").astype(float)
    return to_markdown(table[score >= float(limit) if matbench.BALANCED in table else score <= float(limit)])


def _content(name: str, task: str) -> matbench.Record:
    """Return a published record: 026/inner is an experiment's, auto-10 none's."""
    number, _, protocol = name.rpartition("/")
    folder = f"exp{number}" if number else matbench.BOARDS
    return matbench.read_record(EXPERIMENTS / folder / RESULTS / task / f"{protocol}.json.gz")


def _record(name: str, task: str, digits: str) -> str:
    """Return the score of a record."""
    return f"{matbench.own_row(_content(name, task))['score']:.{digits}f}"


def _rival(task: str, pretrained: str = "") -> str:
    """Return the best of the others without pretraining, or with it, and its score; nothing if there is none."""
    found = matbench.rivals(task)
    found = found[found["pretrained"] == bool(pretrained)]
    return " ".join(found[["algorithm", "score"]].astype(str).iloc[0]) if len(found) else ""


WRITERS: dict[str, Callable[..., str]] = {
    "oof": _score("oof"),
    "test": _score("test"),
    "cpu": lambda *words: seconds(_rows()[words]),
    "outcome": _outcome,
    "gain": _gain,
    "contest": _contest,
    "coverage": _coverage,
    "mev": _mev,
    "fold": _fold,
    "board": _board,
    "record": _record,
    "rival": _rival,
    "place": lambda name, task: matbench.place(_content(name, task)),
    "minutes": lambda name, task: f"{_content(name, task)['user_metadata']['cpu_seconds'] / 60:.0f}",
    "measured": lambda name: _data()["figures"][name]["value"],
    "table": _table,
}
