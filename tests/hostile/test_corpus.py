"""Every bad file gives one clear error, in bounded time and memory, and leaves outputs as they were."""

import logging
import shutil
from pathlib import Path
from typing import get_args

import cifs
import formats
import pytest
import tables
from entry import Bad, Outcome
from place import CONFIGS, TREES, Place, bounded, make_place

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
    shutil.copytree(finished, tmp_path / "copy")
    return Place(tmp_path / "copy")


@pytest.mark.parametrize("entry", [entry for entry in CORPUS if entry.outcome == "refused"], ids=str)
def test_a_bad_file_gives_one_clear_error_and_leaves_outputs_as_they_were(entry: Bad, place: Place) -> None:
    entry.damage(place)
    before = place.contents()
    with bounded(), pytest.raises(SystemExit) as stopped:
        entry.command(place)
    message = stopped.value.code
    assert isinstance(message, str) and "Traceback" not in message and len(message) < 2000, message
    assert [word for word in entry.words if word not in message] == [], message
    assert place.contents() == before
    assert not (place.root / "executed").exists()


@pytest.mark.parametrize("entry", [entry for entry in CORPUS if entry.outcome == "accepted"], ids=str)
def test_an_odd_file_that_is_right_is_accepted(entry: Bad, place: Place) -> None:
    shutil.rmtree(place.outputs / "task")
    place.train()
    entry.damage(place)
    shutil.rmtree(place.run())
    with bounded():
        entry.command(place) if entry.command is not Place.submit else place.train()
    place.submit()


@pytest.mark.parametrize("entry", [entry for entry in CORPUS if entry.outcome == "rebuilt"], ids=str)
def test_a_damaged_cache_is_rebuilt_with_a_warning_and_the_same_numbers(
    entry: Bad, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    name = runs.reader_of(entry)
    before = {path: digest for path, digest in place.contents().items() if path.startswith(f"task/{name}/")}
    shutil.rmtree(place.run(name))
    entry.damage(place)
    with bounded(), caplog.at_level(logging.WARNING):
        entry.command(place)
    log = (place.run(name) / "log.txt").read_text()
    assert "WARNING" in log and [word for word in entry.words if word not in log] == [], log
    assert not (place.root / "executed").exists()
    kept = ("valid.csv", "test.csv", "oof.csv", "history.csv")
    after = place.contents()
    assert all(after[path] == digest for path, digest in before.items() if path.endswith(kept))


def test_the_documented_counts_are_those_of_the_corpus() -> None:
    assert len({str(entry) for entry in CORPUS}) == len(CORPUS) == 294
    refused, accepted, rebuilt = (sum(entry.outcome == outcome for entry in CORPUS) for outcome in get_args(Outcome))
    assert (refused, accepted, rebuilt) == (266, 17, 11)
    said = f"`tests/hostile` holds {len(CORPUS)} files: {refused} refused, {accepted} right, {rebuilt} caches rebuilt."
    assert said in (ROOT / "docs/reliability.md").read_text()


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
