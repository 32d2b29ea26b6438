"""Draw single mutants of the source by its syntax, and try each on the tests that were seen to run its lines: they should fail.

coverage.py records which lines each test runs, again for a test file if it or a source file that it ran has changed. What src
has cached is forgotten before each test, and a fixture that several tests share counts for all that use it. A mutant is
tried again when its file or, if it survived, a test has. What is known is kept in outputs/mutants. A line that no test was seen
to run (compiled by numba, or run in another process) is tried on the test files that faults.toml names for its file. Equivalent
mutants are listed in equivalent.toml. Prints the share killed, with Wilson's 95% interval.
"""

import argparse
import hashlib
import json
import random
import re
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import _lru_cache_wrapper, cache, partial
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage, CoverageData
from mutants import run
from mutants.syntax import EQUIVALENT, Mutant, digest, mutants_of
from scipy.stats import binomtest
from tqdm import tqdm

PACKAGES = ("data", "features", "graphs", "models", "learners", "results", "runs", "auto", "predict")
KEPT = run.ROOT / "outputs" / "mutants"
OUTCOMES = KEPT / "outcomes.jsonl"
TOO_LONG = -9  # as pytest ends if it is killed
MOST_RECORDED = 1800.0  # seconds of a test file; the record of one that takes longer is not used
MOST_SECONDS = 40.0  # of tests that a mutant is tried on, the quickest first
FAST = ("-m", "not slow and not gpu")


class Recorder:
    """A plugin of pytest that writes which lines of src each test runs, into `out`, the seconds of those that pass, and which
    tests use a fixture: its lines are recorded under its name.
    """

    def __init__(self, folder: Path, out: Path) -> None:
        self.coverage = Coverage(data_file=out, include=[f"{folder}/src/*"], config_file=False)
        self.seconds: dict[str, float] = defaultdict(float)
        self.bad: set[str] = set()
        self.users: dict[str, list[str]] = defaultdict(list)
        self.context = ""
        self.out = out

    def pytest_sessionstart(self) -> None:
        """Begin to record."""
        self.coverage.start()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note the fixtures of each test."""
        for item in items:
            for name in getattr(item, "fixturenames", ()):
                self.users[name].append(item.nodeid)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note the test whose lines follow, and forget what earlier ones have left in caches of src."""
        modules = [module for name, module in sys.modules.items() if name.startswith("src.")]
        for value in [value for module in modules for value in vars(module).values()]:
            if isinstance(value, _lru_cache_wrapper):
                value.cache_clear()
        self.context = nodeid
        self.coverage.switch_context(nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """Note the fixture whose lines follow, if several tests share it."""
        before, self.context = self.context, self.context if fixturedef.scope == "function" else fixturedef.argname
        self.coverage.switch_context(self.context)
        try:
            return (yield)
        finally:
            self.context = before
            self.coverage.switch_context(before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the seconds of a part of a test; one that does not pass finds nothing."""
        self.seconds[report.nodeid] += report.duration
        self.bad |= set() if report.passed else {report.nodeid}

    def pytest_sessionfinish(self) -> None:
        """Write what was recorded."""
        self.coverage.stop()
        self.coverage.save()
        passed = {test: seconds for test, seconds in self.seconds.items() if test not in self.bad}
        self.out.with_suffix(".tests").write_text(json.dumps({"seconds": passed, "users": self.users}))


def record(scratch: str, test_file: str) -> str:
    """Record what the tests of a file run, if it is not known; return the file, or '' if its tests do not come to an end."""
    if is_known(test_file):
        return test_file
    folder, out = run.copy_of_repository(scratch), recorded(test_file)
    out.unlink(missing_ok=True)
    ended = run.outcome((test_file, *FAST), folder, MOST_RECORDED, plugins=[Recorder(folder, out)])
    if not out.is_file() or ended.status is None or ended.status < 0:
        return ""
    hashes = {file: digest(run.ROOT / file) for file in [test_file, "tests/conftest.py", *lines_by_file(test_file)]}
    out.with_suffix(".from").write_text(json.dumps(hashes))
    return test_file


def recorded(test_file: str) -> Path:
    """Return the file of coverage.py for a test file."""
    return KEPT / f"{test_file.replace('/', '-')}.coverage"


def is_known(test_file: str) -> bool:
    """Return whether neither a test file nor what it ran has changed since it was recorded."""
    path = recorded(test_file).with_suffix(".from")
    is_there = path.is_file() and path.with_suffix(".tests").is_file()
    hashes = json.loads(path.read_text()) if is_there else {test_file: ""}
    return all((run.ROOT / file).is_file() and digest(run.ROOT / file) == known for file, known in hashes.items())


@cache
def lines_by_file(test_file: str) -> dict[str, dict[int, list[str]]]:
    """Return the tests of a file by the source file and the line that they run."""
    data, users = CoverageData(recorded(test_file)), recorded_tests(test_file)["users"]
    data.read()
    found = {f"src/{file.rpartition('/src/')[2]}": data.contexts_by_lineno(file) for file in sorted(data.measured_files())}
    return {file: {n: [t for one in ran for t in users.get(one, [one])] for n, ran in by.items()} for file, by in found.items()}


@cache
def recorded_tests(test_file: str) -> dict[str, Any]:
    """Return the seconds of each test of a file that passes, and the tests of each fixture ("users")."""
    return json.loads(recorded(test_file).with_suffix(".tests").read_text())  # type: ignore[no-any-return]


@cache
def listed_tests() -> dict[str, set[str]]:
    """Return the test files that faults.toml names for each file of the source."""
    found: dict[str, set[str]] = defaultdict(set)
    for fault in run.read_faults():
        found[fault.file] |= {test.partition("::")[0] for test in fault.tests}
    return found


def tests_of(mutant: Mutant, test_files: Sequence[str]) -> tuple[str, ...]:
    """Return the tests that run a mutant's lines, by file, up to a number of seconds; without any, those of its file's faults."""
    found = []
    for test_file in test_files:
        ran, seconds = lines_by_file(test_file).get(mutant.file, {}), recorded_tests(test_file)["seconds"]
        tests = {test for line in mutant.lines or ran for test in ran.get(line, ())}
        found += [(seconds[test], test) for test in tests if test in seconds]
    total, chosen = 0.0, defaultdict(list)
    for took, test in sorted(found):
        if (total := total + took) > MOST_SECONDS and chosen:
            break
        chosen[test.partition("::")[0]].append((took, test))
    by_file = sorted(chosen.values(), key=lambda of_file: sum(took for took, _ in of_file))
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
    same = {(file, one["old"], new) for file, ones in listed.items() for one in ones for new in listed_in(one["new"])}
    chosen = [one for one in drawn if (one.file, one.lines_of("-"), one.lines_of("+")) not in same]
    return chosen, len(drawn) - len(chosen), len(every)


def listed_in(new: str | list[str]) -> list[str]:
    """Return the new texts of an entry, which may be one or several."""
    return [new] if isinstance(new, str) else new


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
        known_files = list(filter(None, tqdm(pool.map(partial(record, scratch), test_files), "recording tests", len(test_files))))
        tries = [replace(one, tests=tests_of(one, known_files)) for one in chosen if one.key not in known]
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
