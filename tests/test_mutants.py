"""The list of seeded faults fits the source and the tests; `make mutants` runs it."""

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest
from mutants.run import Fault, read_faults
from mutants.syntax import EQUIVALENT, mutants_of

from src.paths import ROOT

FAULTS = read_faults()


SOURCE = '''"""A module."""

ROWS_AT_ONCE = 5

def f(x: int, n: int = 1, n_jobs: int = 1) -> int:
    """Say one."""
    x = list(zip(x, strict=True))
    if x < 2 and n:
        raise ValueError("no" + "thing")
    return -x.sum(axis=0)[1:] * max(n, 3)
'''


@cache
def functions(path: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)}


def misplaced(fault: Fault) -> str:
    """Return why a fault does not change one place of a file that stays Python; '' if it does."""
    if not (path := ROOT / fault.file).is_file():
        return f"{fault.file} is missing"
    text = path.read_text()
    try:
        return "" if ast.dump(ast.parse(fault.put_into(text))) != ast.dump(ast.parse(text)) else "it changes nothing"
    except (ValueError, SyntaxError) as error:
        return str(error)


def test_every_fault_changes_one_place_of_a_file_which_stays_python() -> None:
    assert {str(fault): why for fault in FAULTS if (why := misplaced(fault))} == {}


def is_missing(test: str) -> bool:
    path, _, name = test.partition("::")
    return not (ROOT / path).is_file() or (bool(name) and name.partition("[")[0] not in functions(path))


def test_the_tests_of_every_fault_are_there() -> None:
    assert [str(fault) for fault in FAULTS if not fault.tests] == []
    assert {str(fault): gone for fault in FAULTS if (gone := [test for test in fault.tests if is_missing(test)])} == {}


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


def test_a_machine_finds_each_kind_of_mutant_and_all_are_other_programs() -> None:
    texts = [one.put_into(SOURCE) for one in mutants_of("src/paths.py", SOURCE)]
    changed = ["n: int = 2", "if x <= 2 and n", "if x < 3 and n", "if x < 2 or n", "if (n):", "if not (x < 2 and n)"]
    changed += ["        pass", "return (x.sum(", "x.mean(axis=0)", "sum()", "sum(axis=1)", "[2:]", "[:] *"]
    changed += ["(-x.sum(axis=0)[1:])", "min(n, 3)", "/ max("]
    assert [one for one in changed if sum(one in text for text in texts) != 1] == []
    same = ("one.", "A module", "ROWS_AT_ONCE = 5", "n_jobs: int = 1", "strict=True")
    assert all(part in text for text in texts for part in same)
    assert len({ast.dump(ast.parse(text)) for text in [SOURCE, *texts]}) == len(texts) + 1


def test_equivalent_mutants_are_of_lines_that_are_there() -> None:
    listed = [(file, one) for file, ones in tomllib.loads(EQUIVALENT.read_text()).items() for one in ones]
    lines = {file: "\n".join(line.strip() for line in (ROOT / file).read_text().splitlines()) for file, _ in listed}
    assert [one for file, one in listed if one["old"] not in lines[file] or not one["reason"]] == []
