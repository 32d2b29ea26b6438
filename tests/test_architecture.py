"""Imports go one way.

config, storage -> data -> features, graphs -> models -> learners -> predict -> runs; data -> results -> report.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from src.paths import ROOT

ALLOWED = {
    "paths": set(),
    "command": {"paths"},
    "config": {"paths"},
    "storage": {"paths"},
    "data": {"config", "storage", "paths"},
    "features": {"config", "storage", "data"},
    "graphs": {"config", "storage", "data"},
    "models": {"config", "graphs"},
    "learners": {"config", "storage", "data", "features", "graphs", "models"},
    "results": {"config", "storage", "paths", "data", "features"},
    "report": {"config", "storage", "paths", "data", "features", "results"},
    "predict": {"command", "config", "storage", "paths", "data", "features", "learners", "results"},
    "runs": {"command", "config", "storage", "paths", "data", "features", "learners", "results", "report", "predict"},
}
SRC = ROOT / "src"
PYTHON = [path for path in sorted(ROOT.rglob("*.py")) if not {".venv", "outputs"} & set(path.relative_to(ROOT).parts)]


def imports(path: Path) -> list[str]:
    """Every module that a file imports, at the top or inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def module_of(path: Path, root: Path) -> str:
    """`src.data.cif` for src/data/cif.py; a package is its __init__.py."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def circles(root: Path) -> list[list[str]]:
    """Groups of modules below root/src that import each other, directly or through others."""
    files = {module_of(path, root): path for path in (root / "src").rglob("*.py")}
    graph = {module: {name for name in imports(path) if name in files} - {module} for module, path in files.items()}
    names = sorted(graph)
    pairs = [(names.index(a), names.index(b)) for a in names for b in graph[a]]
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    matrix = coo_array(([1] * len(pairs), (rows, columns)), shape=(len(names), len(names)))
    _, label = connected_components(matrix, connection="strong")
    groups = [[name for name, own in zip(names, label, strict=True) if own == k] for k in set(label)]
    return [group for group in groups if len(group) > 1]


def breaches(path: Path, source_part: str) -> list[str]:
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("src.")}
    return sorted(parts - ALLOWED[source_part] - {source_part})


@pytest.mark.parametrize("path", [p for p in PYTHON if p.is_relative_to(SRC) and p.name != "__init__.py"], ids=str)
def test_imports_go_one_way(path: Path) -> None:
    part = path.relative_to(SRC).parts[0].removesuffix(".py")
    assert breaches(path, part) == []


def test_the_import_rule_can_fail(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from src.learners.gnn import GnnLearner\n")
    assert breaches(bad, "models") == ["learners"]


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count: a circle that hides there is one all the same."""
    assert circles(ROOT) == []


def test_the_search_for_circles_can_fail(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for name, text in {
        "a": "import src.b\n",
        "b": "def late() -> None:\n    from src.c import x\n",
        "c": "from src import a\n",
        "d": "import src.a\n",
    }.items():
        (tmp_path / "src" / f"{name}.py").write_text(text)
    assert circles(tmp_path) == [["src.a", "src.b", "src.c"]]


def test_neither_data_nor_results_import_torch() -> None:
    for path in [*(SRC / "data").glob("*.py"), *(SRC / "results").glob("*.py")]:
        assert not [name for name in imports(path) if name.split(".")[0] in ("torch", "e3nn")], path


def test_an_experiment_imports_its_config_and_the_command_line_only() -> None:
    for path in (ROOT / "exp").glob("exp*/*.py"):
        for name in imports(path):
            if name.startswith(("src", "exp")):
                assert name.startswith("src.config") or name in ("src.runs.train", "src.runs.train.main"), path


def test_test_labels_are_read_by_four_commands_alone() -> None:
    """src/results/labels.py reads them, for scores that people ask for; the scripts in input/ write them."""
    named = {"src/data/export.py", "src/data/task.py", "src/results/labels.py", "input/prepare_nomad.py"}
    readers = {"exp/compare.py", "exp/publish.py", "exp/report.py", "src/results/ledger.py"}
    for path in PYTHON:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("tests/"):
            assert name in named or "test_labels" not in path.read_text(), name
            assert name in readers or "src.results.labels" not in imports(path), name


def test_commands_are_thin_and_nothing_imports_them() -> None:
    """They parse, call and print in 40 lines or fewer; their logic is in src, where it is typed and tested."""
    commands = [ROOT / "submit.py", ROOT / "predict.py", *(ROOT / "exp").glob("*.py")]
    assert {path.name: n for path in commands if (n := len(path.read_text().splitlines())) > 40} == {}
    for path in [*commands, *SRC.rglob("*.py")]:
        assert not [name for name in imports(path) if name.split(".")[0] in ("exp", "submit", "predict")], path


@pytest.mark.parametrize(
    "command", ["submit.py", "predict.py", "exp/compare.py", "exp/publish.py", "exp/ledger.py", "exp/new.py", "exp/matbench.py"]
)
def test_looking_at_results_needs_no_torch_and_no_learner(command: str) -> None:
    """What takes long to import is imported where it is needed: these commands start in less than a second."""
    slow = ("torch", "lightgbm", "sklearn", "scipy.stats", "matplotlib", "pymatgen", "src.learners", "src.models", "src.graphs")
    code = (
        f"import runpy, sys; sys.argv = ['{command}', '--help']\n"
        f"try: runpy.run_path(r'{ROOT / command}', run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"sys.exit(str([name for name in {slow} if name in sys.modules]).strip('[]'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_processes_that_prepare_crystals_load_no_slow_library() -> None:
    """Each of them imports what it needs: to read structures, compare them with training and build graphs."""
    slow = ("torch", "pandas", "scipy", "sklearn", "lightgbm", "numba")
    code = (
        "import sys; import src.predict.read, src.features.similarity, src.graphs.dataset\n"
        f"sys.exit(str([name for name in {slow} if name in sys.modules]).strip('[]'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr.strip() == ""
