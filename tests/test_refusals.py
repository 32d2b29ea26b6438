"""What is read and what is refused, by the readers alone: the corpus of tests/hostile, and both sides of each limit."""

import re
import shutil
import sys
from itertools import islice
from pathlib import Path

import pytest
from conftest import small_task

from src.data import cif, table
from src.data.cif import parse_cif, read_plain
from src.data.formats import _check_size, crystal_in, reason
from src.data.load import load_task_data
from src.data.rows import read_rows
from src.data.table import parse_fields, parse_rows
from src.data.task import ColumnNames, read_task
from src.paths import ROOT

sys.path.append(str(ROOT / "tests" / "hostile"))
import cifs
import formats
import tables
from place import Bad, Place, make_place
from test_data import TEXT

CORPUS = [*tables.ENTRIES, *cifs.ENTRIES, *formats.ENTRIES]
LATER = ("several targets", "a logarithm of targets below -1")  # what is wrong is found after the tables are read
SLOW = ("a bomb of rows", "1,000 atoms")
READ = [one for one in CORPUS if one.command is Place.train and not {one.kind, one.name} & {*LATER, *SLOW}]


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("place")).task


@pytest.mark.parametrize("entry", READ, ids=str)
def test_tables_of_the_corpus_are_refused_with_their_reasons_or_read(entry: Bad, undamaged: Path, tmp_path: Path) -> None:
    shutil.copytree(undamaged, tmp_path / "task")
    entry.damage(Place(tmp_path))
    read = lambda: load_task_data(tmp_path / "task", tmp_path / "outputs", skip_bad_rows=False, n_jobs=1)
    if entry.outcome == "accepted":
        assert len(read().train.ids) == 12
        return
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        read()
    assert [word for word in entry.words if word not in str(refused.value)] == []


def comment(n: int) -> str:
    """Return n characters that say nothing in a CIF."""
    return ("#" * 999 + "\n") * (n // 1000) + "#" * (n % 1000)


def blocks(n: int) -> str:
    return cifs.GOOD + "".join(f"data_{i}\n_a 1\n" for i in range(n))


def moved(x: str) -> str:
    return cifs.GOOD.replace("Na0 0.0", f"Na0 {x}")


@pytest.mark.parametrize(
    ("within", "beyond", "words"),
    [
        (cifs.GOOD + comment(500_000 - len(cifs.GOOD)), cifs.GOOD + comment(500_001 - len(cifs.GOOD)), "500001 characters"),
        ("#" * 2048 + "\n" + cifs.GOOD, "#" * 2049 + "\n" + cifs.GOOD, "a line of 2049 characters; the format allows 2048"),
        (blocks(49), blocks(50), "51 data blocks with 51 different names"),
        (moved("-1000.0"), moved("-1000.5"), "'-1000.5', not a fractional coordinate"),
        (cifs.cif(a=0.9), cifs.cif(a=0.0), "_cell_length_a is 0.0"),
        (cifs.cif(operations=["x, y, z"]), cifs.cif(operations=["1.05x, y, z"]), "'1.05x, y, z' is not a symmetry operation"),
        (cifs.GOOD, cifs.cif(operations=["x, y, z"] * 401), "401 symmetry operations; the limit is 400"),
    ],
    ids=["characters", "line", "blocks", "coordinate", "length", "operation", "operations"],
)
def test_a_cif_is_read_up_to_a_limit(within: str, beyond: str, words: str) -> None:
    assert len(parse_cif(within)) == 2
    with pytest.raises(ValueError, match=words):
        parse_cif(beyond)


def test_two_thousand_atoms_are_read_and_no_more_also_after_symmetry(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "  Na  Na{0}  1  0.{0:04d}  0.50000000  0.50000000  1\n"
    within, beyond = (TEXT[: TEXT.index("  O  ")] + "".join(map(line.format, range(n))) for n in (2000, 2001))
    assert read_plain(within) is not None and read_plain(beyond) is None
    with pytest.raises(ValueError, match="2001 sites; the limit is 2000 atoms"):
        parse_cif(beyond)
    _check_size(2000)
    with pytest.raises(ValueError, match="2001 atoms; the limit is 2000"):
        _check_size(2001)
    two = cifs.cif([" Na Na0 0.1 0.2 0.3 1"], ["x, y, z", "-x, -y, -z"])
    monkeypatch.setattr(cif, "MAX_ATOMS", 2)
    assert len(parse_cif(two)) == 2
    monkeypatch.setattr(cif, "MAX_ATOMS", 1)
    with pytest.raises(ValueError, match="the cell has 2 atoms; the limit is 1"):
        parse_cif(two)


def header(n: int) -> str:
    return "\n".join(",".join(f"{kind}{i}" for i in range(n)) for kind in "ab")


@pytest.mark.parametrize(
    ("within", "beyond", "words"),
    [
        ("a,b\n1," + "x" * 999_996 + "\n", "a,b\n1," + "x" * 999_997 + "\n", "line 2 has 1000000 characters or more"),
        (header(5000), header(5001), "5001 columns; the limit is 5000"),
        ("a\n1\n", "a;b\n1\n", "one column, 'a;b'; is it separated by semicolons"),
        ("a|b,c\n1,2\n", "a|b\n1\n", "one column, 'a.b'; is it separated by bars"),
        ("a,b\n1,2\n\n3,4\n", "a,b\n1,2\n3\n4\n5,6\n7\n", re.escape("records [3, 4, 6] do not have the 2 columns")),
        ("a\n" + "1\n" * 60, "a,b\n" + "1\n" * 60, re.escape(f"records {[*range(2, 52)]} do not have")),
        ('a,b\n"1",2\n', 'a,b\n1,2\n3\n"4,5\n', "record 4: .*is a quote missing"),
        ("a,b\n1,2\n", "a,b\n", "the table has no rows"),
    ],
    ids=["line", "columns", "one column", "a mark", "ragged", "many ragged", "quote", "rows"],
)
def test_a_table_is_read_up_to_a_limit(within: str, beyond: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(within)
    assert list(read_rows(path))
    path.write_text(beyond)
    with pytest.raises(ValueError, match=words):
        list(read_rows(path))


def test_a_million_rows_are_read_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n" + "1\n" * 1_000_001)
    rows = read_rows(tmp_path / "a.csv")
    assert sum(1 for _ in islice(rows, 1_000_000)) == 1_000_000
    with pytest.raises(ValueError, match="more than 1000000 rows"):
        next(rows)


def test_ids_categories_and_reasons_are_not_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n, is_good in ((200, True), (201, False)):
        flaws = table._flaws_of_id("x" * n, "id"), parse_fields({"a": "x" * n}, ColumnNames((), ("a",)))[1]
        assert [not flaw for flaw in flaws] == [is_good, is_good]
    assert reason(ValueError("x" * 301)) == "x" * 300
    row, task = {"id": "x", "cif": "", "formation_energy_per_atom": "no"}, read_task(small_task(tmp_path))
    (whole,) = parse_rows([row], task, has_target=True)
    for n, expected in ((len(whole.reason), whole.reason), (len(whole.reason) - 1, f"{whole.reason[:-1]} ...")):
        monkeypatch.setattr(table, "MAX_REASON", n)
        assert parse_rows([row], task, has_target=True)[0].reason == expected


NUMBERS_LAST = "Na Cl\n1.0\n3 0 0\n0 3 0\n0 0 3\n1 1\nDirect\n0 0 0 Na\n.5 .5 .5 Cl\n"


def test_the_numbers_of_atoms_of_a_poscar_are_in_line_six_or_seven() -> None:
    assert crystal_in(NUMBERS_LAST, "poscar").reduced_formula == "NaCl"
    with pytest.raises(ValueError, match="neither line 6 nor line 7 has the numbers of atoms"):
        crystal_in(NUMBERS_LAST.replace("1 1\n", "Na Cl\none one\n1 1\n"), "poscar")
