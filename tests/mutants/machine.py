"""Draw single mutants of the source by its syntax, and try each on the recorded tests that run its line: they should fail.

A test file is recorded again when it or a source file that it ran has changed; a mutant is tried again when its file or, if it
survived, a test has. What is known is kept in outputs/mutants. Not mutated are texts, messages, annotations and decorators.
A line that no test was seen to run (compiled by numba, or run in another process) is tried on the test files that faults.toml
names for its file. Equivalent mutants are listed in equivalent.toml. Prints the share killed, with Wilson's 95% interval.
"""

import argparse
import ast
import difflib
import hashlib
import json
import os
import random
import re
import sys
import tempfile
import threading
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from mutants import run
from scipy.stats import binomtest
from tqdm import tqdm

PACKAGES = ("data", "features", "graphs", "models", "learners", "results", "runs", "auto", "predict")
KEPT = run.ROOT / "outputs" / "mutants"
OUTCOMES = KEPT / "outcomes.jsonl"
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
TOO_LONG = -9  # as pytest ends if it is killed
MOST_RECORDED = 30.0  # CPU seconds of a test file; what follows in it is not recorded
MOST_SECONDS = 40.0  # of recorded tests that a mutant is tried on, the quickest first
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = {"min": "max", "any": "all", "argmin": "argmax", "minimum": "maximum", "floor": "ceil", "mean": "sum", "amin": "amax"}
NAMES |= {"sin": "cos"} | {new: old for old, new in NAMES.items()}
SYMMETRIC = ("min", "max", "minimum", "maximum", "isinstance", "getattr", "hasattr", "gcd", "array_equal")
AXES = ("axis", "dim")
Node = ast.expr | ast.stmt


@dataclass(frozen=True)
class Mutant:
    """A file whose text between two offsets is another one. lines: those of its statement; none: any of its file's functions."""

    file: str
    start: int
    end: int
    new: str
    lines: tuple[int, ...]
    tests: tuple[str, ...] = ()

    def put_into(self, text: str) -> str:
        """Return the text of the file with the mutant."""
        raw = text.encode()
        return (raw[: self.start] + self.new.encode() + raw[self.end :]).decode()

    @property
    def diff(self) -> list[str]:
        """The lines that go and those that come, with - and +."""
        text = (run.ROOT / self.file).read_text()
        found = difflib.unified_diff(text.splitlines(), self.put_into(text).splitlines(), n=0, lineterm="")
        return [line for line in found if not line.startswith(("---", "+++"))]

    def lines_of(self, sign: str) -> str:
        """Return the lines that go (-) or come (+), without the spaces around them."""
        return "\n".join(line[1:].strip() for line in self.diff if line[0] == sign)

    @property
    def key(self) -> str:
        """A hash of the file's content and of what is changed in it."""
        return digest(run.ROOT / self.file, repr((self.start, self.end, self.new)))


def digest(path: Path, more: str = "") -> str:
    """Return the hash of a file's content and of a text."""
    return hashlib.sha256(path.read_bytes() + more.encode()).hexdigest()[:20]


def is_text(node: ast.AST) -> bool:
    """Return whether an expression is a text, or a sum of texts."""
    return any(isinstance(x, ast.JoinedStr) or (isinstance(x, ast.Constant) and isinstance(x.value, str)) for x in ast.walk(node))


def constants(value: object, is_axis: bool) -> list[str]:
    """Return other values of a constant."""
    if isinstance(value, bool):
        return [repr(not value)]
    if isinstance(value, int):
        return [repr(1 - value) if value in (0, 1) else "0"] if is_axis else [repr(value + 1), *([repr(value - 1)] * (value > 1))]
    return [repr(2 * value if value >= 0.01 else 100 * value if value else 1.0)] if isinstance(value, float) else []


def changes(node: Node, is_axis: bool) -> Iterator[str]:
    """Yield what may stand in place of a node."""
    text = ast.unparse
    match node:
        case ast.Constant():
            yield from constants(node.value, is_axis)
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield text(ast.Compare(node.left, [SWAPS[type(op)]()], node.comparators))
        case ast.BoolOp():
            yield text(ast.BoolOp(SWAPS[type(node.op)](), node.values))
            yield from (f"({text(ast.BoolOp(node.op, [x for x in node.values if x is not out]))})" for out in node.values)
        case ast.BinOp() if type(node.op) in SWAPS and not is_text(node):
            yield f"({text(ast.BinOp(node.left, SWAPS[type(node.op)](), node.right))})"
            yield from (f"({text(side)})" for side in (node.left, node.right))
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield f"({text(node.operand)})"
        case ast.IfExp():
            yield text(ast.IfExp(node.test, node.orelse, node.body))
        case ast.Slice():
            if node.lower or node.upper:
                yield ":" + (f":{text(node.step)}" if node.step else "")
            if node.step:
                yield text(ast.Slice(node.lower, node.upper))
        case ast.Attribute() if node.attr in NAMES:
            yield text(ast.Attribute(node.value, NAMES[node.attr]))
        case ast.Name() if node.id in NAMES and isinstance(node.ctx, ast.Load):
            yield NAMES[node.id]
        case ast.Call():
            is_symmetric = text(node.func).rpartition(".")[2] in SYMMETRIC
            if len(node.args) > 1 and not is_symmetric and not any(isinstance(one, ast.Starred) for one in node.args):
                yield text(ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords))
            for gone in node.keywords:
                if gone.arg not in (None, "strict", "dtype", "encoding") and not is_text(gone.value):
                    yield text(ast.Call(node.func, node.args, [one for one in node.keywords if one is not gone]))
        case ast.AugAssign(op=op) if type(op) in SWAPS:
            yield text(ast.AugAssign(node.target, SWAPS[type(op)](), node.value))
            yield "pass"
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue() | ast.Break():
            yield "pass"
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield "pass"


def mutated(node: ast.AST, inside: Node | None = None, is_axis: bool = False) -> Iterator[tuple[Node, Node, str]]:
    """Yield a node, its statement and what may stand in its place, for the nodes below this one."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "format_spec"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
                continue
            own = child if isinstance(child, ast.stmt) else inside
            if isinstance(child, ast.Expr) and (isinstance(child.value, ast.Constant) or ast.unparse(child).startswith("log.")):
                continue  # a docstring, or what is said
            if own and isinstance(child, ast.expr | ast.stmt):
                yield from ((child, own, new) for new in changes(child, is_axis))
                if name == "test" and not isinstance(child, ast.Compare | ast.UnaryOp) and ast.unparse(child) != "TYPE_CHECKING":
                    yield child, own, f"not ({ast.unparse(child)})"
            if not isinstance(child, ast.Raise):  # a message
                yield from mutated(child, own, is_axis or (isinstance(child, ast.keyword) and child.arg in AXES))


def mutants_of(file: str, text: str) -> list[Mutant]:
    """Return all mutants of a file."""
    tree, starts = ast.parse(text), [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inner = {id(x) for function in functions for statement in function.body for x in ast.walk(statement)}
    found = []
    for node, own, new in mutated(tree):
        last = own.body[0].lineno - 1 if getattr(own, "body", None) else own.end_lineno
        lines = set(range(own.lineno, max(own.lineno, last or 0) + 1))
        if isinstance(own, ast.FunctionDef):  # a default
            lines = set(range(own.body[0].lineno, (own.end_lineno or 0) + 1))
        elif id(own) not in inner:  # run when the file is imported: where its names are read
            names = {x.id for x in ast.walk(own) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
            lines = {x.lineno for x in ast.walk(tree) if isinstance(x, ast.Name) and x.id in names and id(x) in inner}
        start, end = (starts[at - 1] + column for at, column in place(node))
        found.append(Mutant(file, start, end, new, tuple(sorted(lines))))
    return list(dict.fromkeys(one for one in found if is_other(one, text)))


def place(node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return line and column of both ends of a node."""
    return (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)


def is_other(mutant: Mutant, text: str) -> bool:
    """Return whether a mutant puts another text in place of what it replaces."""
    old = text.encode()[mutant.start : mutant.end].decode()
    return mutant.new not in (old, f"({old})")


class Recorder:
    """A plugin of pytest that writes which lines of src each test runs, as bits of a number by file, and its seconds."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.folder, self.out = f"{folder}/", out
        self.files: dict[str, str | None] = {}
        self.tests: dict[str, Any] = {}
        self.bad: set[str] = set()
        self.lines: set[tuple[str, int]] = set()

    def trace(self, frame: FrameType, event: str, arg: object) -> Any:
        """Note a line; leave other files alone."""
        path = frame.f_code.co_filename
        if path not in self.files:
            file = path.removeprefix(self.folder)
            self.files[path] = path if file.startswith("src/") else None
        if self.files[path] is None:
            return None
        self.lines.add((path, frame.f_lineno))
        return self.trace

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Record a test."""
        self.lines, start = set(), time.perf_counter()
        threading.settrace(self.trace)
        sys.settrace(self.trace)
        yield
        sys.settrace(None)
        bits: dict[str, int] = defaultdict(int)
        for path, line in self.lines:
            bits[path.removeprefix(self.folder)] |= 1 << line
        if time.process_time() > MOST_RECORDED:
            item.session.shouldstop = "recorded enough of this file"
        self.tests[item.nodeid] = [time.perf_counter() - start, {file: hex(number) for file, number in bits.items()}]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that does not pass; it finds nothing."""
        self.bad |= set() if report.passed else {report.nodeid}

    def pytest_sessionfinish(self) -> None:
        """Write what was recorded."""
        self.out.write_text(json.dumps({test: found for test, found in self.tests.items() if test not in self.bad}))


def made_from(test_file: str, tests: dict[str, Any]) -> dict[str, str]:
    """Return the hashes of the files that a record depends on."""
    files = {test_file, "tests/conftest.py", *(file for _, ran in tests.values() for file in ran)}
    return {file: digest(run.ROOT / file) for file in sorted(files) if (run.ROOT / file).is_file()}


def record(scratch: str, test_file: str) -> tuple[str, dict[str, Any]]:
    """Return what the tests of a file run; it is kept."""
    kept = KEPT / f"{test_file.replace('/', '-')}.json"
    if kept.is_file() and (old := json.loads(kept.read_text()))["from"] == made_from(test_file, old["tests"]):
        return test_file, old["tests"]
    folder, out = run.copy_of_repository(scratch), Path(scratch) / f"{os.getpid()}.json"
    out.write_text("{}")
    ended = run.outcome((test_file, "-m", "not slow and not gpu"), folder, 900.0, plugins=[Recorder(folder, out)])
    tests = json.loads(out.read_text())
    kept.write_text(json.dumps({"from": made_from(test_file, tests), "tests": tests, "status": ended.status}))
    return test_file, tests


@cache
def listed_tests() -> dict[str, set[str]]:
    """Return the test files that faults.toml names for each file of the source."""
    found: dict[str, set[str]] = defaultdict(set)
    for fault in run.read_faults():
        found[fault.file] |= {test.partition("::")[0] for test in fault.tests}
    return found


def tests_of(mutant: Mutant, recorded: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    """Return the tests that run a mutant's lines, by file, up to a number of seconds; without any, those of its file's faults."""
    wanted, found = sum(1 << line for line in mutant.lines), []
    for tests in recorded.values():
        for test, (seconds, ran) in tests.items():
            bits = int(ran.get(mutant.file, "0"), 16)
            if bits & wanted or (bits and not wanted):
                found.append((seconds, test))
    total, chosen = 0.0, defaultdict(list)
    for seconds, test in sorted(found):
        if (total := total + seconds) > MOST_SECONDS and chosen:
            break
        chosen[test.partition("::")[0]].append((seconds, test))
    by_file = sorted(chosen.values(), key=lambda of_file: sum(seconds for seconds, _ in of_file))
    return tuple(test for of_file in by_file for _, test in of_file) or tuple(sorted(listed_tests()[mutant.file]))


def try_on_tests(scratch: str, mutant: Mutant) -> run.Outcome:
    """Return how the tests of a mutant end; without any, it survives."""
    return run.judge(scratch, mutant, limit=300.0) if mutant.tests else run.Outcome(run.PASSED, 0.0, "")


def share(statuses: Sequence[int | None]) -> str:
    """Return how many mutants were killed, with the interval."""
    if not (n := len(statuses)):
        return "none drawn"
    killed = sum(status != run.PASSED for status in statuses)
    low, high = binomtest(killed, n).proportion_ci(method="wilson")
    return f"{killed:4d} of {n:4d} killed, {killed / n:6.1%} ({low:.1%} to {high:.1%})"


def drawn_mutants(n: int, seed: int, only: str) -> tuple[list[Mutant], int, int]:
    """Return mutants drawn by chance, without the equivalent ones; how many these are; and from how many all were drawn."""
    files = [
        path.relative_to(run.ROOT).as_posix() for name in PACKAGES for path in sorted((run.ROOT / "src" / name).glob("*.py"))
    ]
    every = [one for file in files if re.search(only, file) for one in mutants_of(file, (run.ROOT / file).read_text())]
    drawn = random.Random(seed).sample(every, min(n, len(every)))
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))
    same = {(file, one["old"], one["new"]) for file, ones in listed.items() for one in ones}
    chosen = [one for one in drawn if (one.file, one.lines_of("-"), one.lines_of("+")) not in same]
    return chosen, len(drawn) - len(chosen), len(every)


def known_outcomes(tests_now: str) -> dict[str, int]:
    """Return the exit status of pytest by mutant, of those that were killed or tried on the tests of today."""
    lines = OUTCOMES.read_text().splitlines() if OUTCOMES.is_file() else []
    return {key: status for key, status, tests in map(json.loads, lines) if status != run.PASSED or tests == tests_now}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, required=True, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: 1)")
    parser.add_argument("--only", default="", help="mutants of files whose path contains this regular expression")
    parser.add_argument("--tests", default="test_*.py", help="files in tests/ to try them on (default: test_*.py)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once (default: 2)")
    args = parser.parse_args()
    chosen, n_equivalent, n_all = drawn_mutants(args.n, args.seed, args.only)
    KEPT.mkdir(parents=True, exist_ok=True)
    test_files = sorted(path.relative_to(run.ROOT).as_posix() for path in (run.ROOT / "tests").glob(args.tests))
    tests_now = hashlib.sha256("".join(digest(run.ROOT / file) for file in test_files).encode()).hexdigest()[:20]
    known = known_outcomes(tests_now)
    run.prepare()
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(args.jobs, run.FORK) as pool:
        recorded = dict(tqdm(pool.map(partial(record, scratch), test_files), "recording tests", len(test_files)))
        tries = [replace(one, tests=tests_of(one, recorded)) for one in chosen if one.key not in known]
        with tqdm(pool.map(partial(try_on_tests, scratch), tries), "mutants", len(tries), smoothing=0.05) as bar:
            for one, ended in zip(tries, bar, strict=True):
                known[one.key] = TOO_LONG if ended.status is None else ended.status
                with OUTCOMES.open("a") as file:
                    file.write(json.dumps([one.key, known[one.key], tests_now]) + "\n")
                bar.write(f"{ended}  {one.file}: {one.lines_of('+')[:100]}", file=sys.stdout)
    by_package: dict[str, list[int]] = defaultdict(list)
    for one in chosen:
        by_package[one.file.split("/")[1]].append(known[one.key])
        if known[one.key] == run.PASSED:
            print("\n".join([f"\nSURVIVED  {one.file}", *one.diff]))
    for name, statuses in [*sorted(by_package.items()), ("all", [known[one.key] for one in chosen])]:
        print(f"{name:9} {share(statuses)}")
    print(f"{n_equivalent} equivalent; drawn from {n_all:,} mutants; {list(known.values()).count(TOO_LONG)} took too long")


if __name__ == "__main__":
    main()
