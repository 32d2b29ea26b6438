"""Imports go one way: config -> data -> features, graphs -> models -> learners -> runs -> exp, submit.py."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from src.runs.artifacts import ROOT

ALLOWED = {
    "config": set(),
    "files": set(),
    "data": {"config", "files"},
    "features": {"config", "files", "data"},
    "graphs": {"config", "files", "data"},
    "models": {"config", "graphs"},
    "learners": {"config", "files", "data", "features", "graphs", "models"},
    "runs": {"config", "files", "data", "features", "learners"},
}
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


def breaches(path: Path, source_part: str) -> list[str]:
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("src.")}
    return sorted(parts - ALLOWED[source_part] - {source_part})


@pytest.mark.parametrize("path", [p for p in PYTHON if p.is_relative_to(ROOT / "src") and p.name != "__init__.py"], ids=str)
def test_imports_go_one_way(path: Path) -> None:
    part = path.relative_to(ROOT / "src").parts[0].removesuffix(".py")
    assert breaches(path, part) == []


def test_the_import_rule_can_fail(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from src.learners.gnn import GnnLearner\n")
    assert breaches(bad, "models") == ["learners"]


def test_data_never_imports_torch() -> None:
    for path in (ROOT / "src/data").glob("*.py"):
        assert not [name for name in imports(path) if name.split(".")[0] in ("torch", "e3nn")], path


def test_an_experiment_imports_its_config_and_the_command_line_only() -> None:
    for path in (ROOT / "exp").glob("exp*/*.py"):
        for name in imports(path):
            if name.startswith(("src", "exp")):
                assert name.startswith("src.config") or name in ("src.runs.train", "src.runs.train.main"), path


def test_test_labels_are_read_by_compare_alone() -> None:
    """Only exp/compare.py asks a task for its test labels; the scripts in input/ write them."""
    writers = {"src/data/export.py", "src/data/task.py", "exp/compare.py"}
    for path in PYTHON:
        name = path.relative_to(ROOT).as_posix()
        if name not in writers and not name.startswith("tests/"):
            assert "test_labels" not in path.read_text(), name


@pytest.mark.parametrize("command", ["submit.py", "exp/compare.py", "exp/ledger.py", "exp/new.py"])
def test_looking_at_results_needs_no_torch(command: str) -> None:
    code = (
        f"import runpy, sys; sys.argv = ['{command}', '--help']\n"
        f"try: runpy.run_path(r'{ROOT / command}', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_nothing_is_executed_that_was_loaded() -> None:
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not path.is_relative_to(ROOT / "tests"):
                assert node.func.id not in ("eval", "exec"), path
