"""The list of seeded faults fits the source and the tests; `make mutants` runs it."""

import ast
from functools import cache
from pathlib import Path

import pytest
from mutants.run import Fault, read_faults

from src.paths import ROOT

FAULTS = read_faults()


@cache
def functions(path: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_fault_changes_one_place_of_a_file_which_stays_python() -> None:
    for fault in FAULTS:
        text = (ROOT / fault.file).read_text()
        changed = fault.put_into(text)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text)), fault


def test_the_tests_of_every_fault_are_there() -> None:
    for fault in FAULTS:
        assert fault.tests, fault
        for test in fault.tests:
            path, _, name = test.partition("::")
            assert (ROOT / path).is_file() and (not name or name.partition("[")[0] in functions(path)), f"{fault}: {test}"


def test_every_package_of_the_source_has_faults() -> None:
    parts = {path.relative_to(ROOT / "src").parts[0] for path in (ROOT / "src").glob("**/*.py") if path.name != "__init__.py"}
    assert {Path(fault.file).parts[1] for fault in FAULTS} == parts


def test_no_fault_is_listed_twice() -> None:
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS) >= 60


def test_a_fault_whose_text_is_not_there_once_is_named_with_its_file() -> None:
    fault = Fault(7, "src/paths.py", "no such text", "", ("tests/test_docs.py",))
    for text, n in (("nothing", 0), ("no such text, no such text", 2)):
        with pytest.raises(ValueError, match=rf"fault 7: src/paths.py contains this text {n} times, not once: 'no such text'"):
            fault.put_into(text)


def test_the_documented_number_of_faults_is_that_of_the_list() -> None:
    assert f"{len(FAULTS)} seeded faults" in (ROOT / "docs" / "reliability.md").read_text()
