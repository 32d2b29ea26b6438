"""Every bad file gives one clear error, in bounded time and memory, and leaves outputs as they were."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import cifs
import formats
import pytest
import tables
from conftest import reset_log
from place import CONFIGS, TREES, Bad, Outcome, Place, bounded, make_place

import runs
from src.paths import ROOT

CORPUS = [*tables.ENTRIES, *cifs.ENTRIES, *formats.ENTRIES, *runs.ENTRIES]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a place whose experiments are finished."""
    place = make_place(tmp_path_factory.mktemp("hostile"))
    for name in CONFIGS:
        place.train(name)
    return place.root


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Place:
    return copy_of(finished, tmp_path / "copy")


def copy_of(finished: Path, folder: Path) -> Place:
    """Return a place of its own with the same files."""
    shutil.copytree(finished, folder)
    return Place(folder)


def kinds(outcome: Outcome) -> pytest.MarkDecorator:
    """Parametrise a test by the kinds of bad files that have this outcome: their entries."""
    found: dict[str, list[Bad]] = {}
    for entry in CORPUS:
        if entry.outcome == outcome:
            found.setdefault(entry.kind, []).append(entry)
    return pytest.mark.parametrize("entries", [pytest.param(entries, id=kind) for kind, entries in found.items()])


def offenders(entries: list[Bad], finished: Path, folder: Path, check: Callable[[Bad, Place], None]) -> dict[str, str]:
    """Return the entries that fail a check, each in a place of its own, with the reason."""
    found = {}
    for i, entry in enumerate(entries):
        place = copy_of(finished, folder / f"{i}")
        try:
            check(entry, place)
        except AssertionError as error:
            found[str(entry)] = str(error)
        except (Exception, SystemExit, pytest.fail.Exception) as error:
            found[str(entry)] = repr(error)
        shutil.rmtree(place.root)
        reset_log()
    return found


def refused(entry: Bad, place: Place) -> None:
    entry.damage(place)
    before = place.contents()
    with bounded(), pytest.raises(SystemExit) as stopped:
        entry.command(place)
    message = stopped.value.code
    assert isinstance(message, str) and "Traceback" not in message and len(message) < 2000, message
    assert [word for word in entry.words if word not in message] == [], message
    assert place.contents() == before
    assert not (place.root / "executed").exists()


@kinds("refused")
def test_a_bad_file_gives_one_clear_error_and_leaves_outputs_as_they_were(
    entries: list[Bad], finished: Path, tmp_path: Path
) -> None:
    assert offenders(entries, finished, tmp_path, refused) == {}


def accepted(entry: Bad, place: Place) -> None:
    shutil.rmtree(place.outputs / "task")
    entry.damage(place)
    with bounded():
        place.train()
    place.submit()


def test_an_odd_file_that_is_right_is_accepted(finished: Path, tmp_path: Path) -> None:
    assert offenders([entry for entry in CORPUS if entry.outcome == "accepted"], finished, tmp_path, accepted) == {}


def rebuilt(entry: Bad, place: Place) -> None:
    name = runs.reader_of(entry)
    before = {path: digest for path, digest in place.contents().items() if path.startswith(f"task/{name}/")}
    shutil.rmtree(place.run(name))
    entry.damage(place)
    with bounded():
        entry.command(place)
    log = (place.run(name) / "log.txt").read_text()
    assert "WARNING" in log and [word for word in entry.words if word not in log] == [], log
    assert not (place.root / "executed").exists()
    kept = ("valid.csv", "test.csv", "oof.csv", "history.csv")
    after = place.contents()
    assert all(after[path] == digest for path, digest in before.items() if path.endswith(kept))


@kinds("rebuilt")
def test_a_damaged_cache_is_rebuilt_with_a_warning_and_the_same_numbers(
    entries: list[Bad], finished: Path, tmp_path: Path
) -> None:
    assert offenders(entries, finished, tmp_path, rebuilt) == {}


def test_the_documented_counts_are_those_of_the_corpus() -> None:
    assert len({str(entry) for entry in CORPUS}) == len(CORPUS)
    n_refused, n_accepted, n_rebuilt = (sum(entry.outcome == outcome for entry in CORPUS) for outcome in get_args(Outcome))
    said = f"{len(CORPUS)} files: {n_refused} refused, {n_accepted} right, {n_rebuilt} caches rebuilt"
    assert said in (ROOT / "docs/figures.toml").read_text(), "after a change there, run python exp/ledger.py"


def test_the_undamaged_place_is_accepted(place: Place) -> None:
    """If it were not, every entry would be refused for the wrong reason."""
    before = place.contents()
    place.train(TREES)
    place.submit()
    place.compare()
    for name in CONFIGS:
        place.load(name)
    after = place.contents()
    assert {path: after[path] for path in before if not path.endswith("metrics.json")} == {
        path: digest for path, digest in before.items() if not path.endswith("metrics.json")
    }
