"""What is read and what is refused, by the readers alone: the corpus of tests/hostile, and both sides of each limit."""

import math
import re
import shutil
import sys
from itertools import islice
from pathlib import Path

import pytest
from conftest import small_task

from src.data import cif, table
from src.data.cif import parse_cif, read_plain
from src.data.crystal import Crystal
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
    ],
    ids=["characters", "line", "blocks", "coordinate", "length", "operation"],
)
def test_a_cif_is_read_up_to_a_limit(within: str, beyond: str, words: str) -> None:
    assert len(parse_cif(within)) == 2
    with pytest.raises(ValueError, match=words):
        parse_cif(beyond)


def test_at_most_two_thousand_atoms_are_read_with_those_that_symmetry_makes(monkeypatch: pytest.MonkeyPatch) -> None:
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


OPERATION, MAGNETIC, GROUP = "_symmetry_equiv_pos_as_xyz", "_space_group_symop_magn_", "_symmetry_space_group_name_H-M"


@pytest.mark.parametrize(
    ("block", "n_sites", "words"),
    [
        ({OPERATION: ["x, y, z"] * 400}, 25, ""),
        ({OPERATION: ["x, y, z"] * 401}, 1, "401 symmetry operations"),
        ({OPERATION: ["x, y, z"] * 4}, 2501, "2501 sites times 4 operations give 10004 images"),
        ({OPERATION: "-x, y+1/2, -z", GROUP: "P 2"}, 10_000, ""),
        ({OPERATION: "2x, y, z"}, 1, "'2x, y, z' is not a symmetry operation"),
        ({OPERATION: ["x, y, z", "x, y"]}, 1, "'x, y' is not"),
        ({"_space_group_symop_operation_xyz": "1/0x, y, z"}, 1, "is not a symmetry operation"),
        ({GROUP: "P_ 1", "_symmetry_Int_Tables_number": 1}, 10_001, ""),
        ({GROUP: "P 1", "_space_group_IT_number": "225"}, 53, "53 sites times 192 operations give 10176 images"),
        ({GROUP: "F m -3 m"}, 52, ""),
        ({f"{MAGNETIC}operation.xyz": ["x,y,z,+1"] * 100, f"{MAGNETIC}centering.xyz": ["x,y,z,+1"] * 4}, 25, ""),
        ({f"{MAGNETIC}operation.xyz": ["x,y,z,+1"] * 100, f"{MAGNETIC}centering.xyz": ["x,y,z,+1"] * 5}, 1, "500 symmetry"),
        ({f"{MAGNETIC}operation.xyz": ["x,y,z,+1"] * 401}, 1, "401 symmetry operations"),
        ({f"{MAGNETIC}operation.xyz": "x,y,z,+1", f"{MAGNETIC}centering.xyz": "x,y,z,+1"}, 10_001, "10001 images"),
    ],
)
def test_symmetry_is_applied_up_to_a_limit(block: dict, n_sites: int, words: str) -> None:
    if not words:
        return cif._check_symmetry(block, n_sites)
    with pytest.raises(ValueError, match=words):
        cif._check_symmetry(block, n_sites)


def sites(**changed: object) -> dict:
    """Return the loop of two sites in a block of a CIF."""
    columns = {"label": ["Na0", "Cl1"], "type_symbol": ["Na", "Cl1-"], "fract_x": ["0", ".5(2)"], "fract_y": ["0", "1"]}
    columns |= {"fract_z": ["0", "-0.5"], "occupancy": ["1", "?"]} | changed
    return {f"_atom_site_{name}": values for name, values in columns.items() if values}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"type_symbol": None, "occupancy": None}, ""),
        ({"type_symbol": ["Na", "Xx1"]}, "site 'Cl1': _atom_site_type_symbol 'Xx1' does not start with an element"),
        ({"type_symbol": None, "label": ["?", "Cl1"]}, "site '.': _atom_site_label '.' does not start"),
        ({"fract_y": ["0", "."]}, "site 'Cl1': _atom_site_fract_y is '.', not a fractional coordinate"),
        ({"fract_y": ["1_0", "0"]}, "_atom_site_fract_y is '1_0'"),
        ({"fract_x": None}, "no loop with _atom_site_fract_x"),
        ({"fract_z": "0"}, "no loop with _atom_site_fract_z"),
        ({"fract_z": ["0"]}, "columns differ in length"),
        ({"occupancy": ["1", "1.01"]}, "site 'Cl1': occupancy 1.01, must be above 0 and at most 1"),
        ({"occupancy": ["0", "1"]}, "site 'Na0': occupancy 0"),
    ],
)
def test_sites_are_elements_at_coordinates_with_an_occupancy(changed: dict, words: str) -> None:
    if not words:
        assert cif._check_sites(sites(**changed)) == 2
        return
    with pytest.raises(ValueError, match=words):
        cif._check_sites(sites(**changed))


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.33332, 1 / 3), (0.33328, 0.33328), (0.33338, 0.33338), (0.6667, 2 / 3), (0.66658, 0.66658), (0.66675, 0.66675),
        (0.25, 0.25), (-0.25, 0.75), (1.25, 0.25), (-7.75, 0.25), (1.0, 0.0), (0.999, 0.999), (1.3333, 1.3333 - 1),
    ],
)  # fmt: skip
def test_a_coordinate_is_in_the_cell_and_a_rounded_third_is_a_third(x: float, expected: float) -> None:
    assert cif._in_cell(x) == expected


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


def test_at_most_a_million_rows_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n" + "1\n" * 1_000_001)
    rows = read_rows(tmp_path / "a.csv")
    assert sum(1 for _ in islice(rows, 1_000_000)) == 1_000_000
    with pytest.raises(ValueError, match="more than 1000000 rows"):
        next(rows)


def test_ids_categories_and_reasons_have_a_greatest_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n, is_good in ((200, True), (201, False)):
        flaws = table._flaws_of_id("x" * n, "id"), parse_fields({"a": "x" * n}, ColumnNames((), ("a",)))[1]
        assert [not flaw for flaw in flaws] == [is_good, is_good]
    assert reason(ValueError("x" * 301)) == "x" * 300
    row, task = {"id": "x", "cif": "", "formation_energy_per_atom": "no"}, read_task(small_task(tmp_path))
    (whole,) = parse_rows([row], task, has_target=True)
    for n, expected in ((len(whole.reason), whole.reason), (len(whole.reason) - 1, f"{whole.reason[:-1]} ...")):
        monkeypatch.setattr(table, "MAX_REASON", n)
        assert parse_rows([row], task, has_target=True)[0].reason == expected


@pytest.mark.parametrize(
    ("row", "fields", "words"),
    [
        ({"a": " 1.5", "b": " x "}, (1.5, "x"), []),
        ({"a": "-1e100", "b": ""}, (-1e100, ""), []),
        ({"a": " ", "b": "2"}, (math.nan, "2"), []),
        ({"a": "1.1e100", "b": "x"}, (1.1e100, "x"), ["'a' is '1.1e100', not a number up to 1e.100; leave the field empty"]),
        (
            {"a": "1_0", "b": "x" * 201},
            (math.nan, "x" * 201),
            ["'a' is '1_0', not a number", "'b' has 201 characters; the limit is 200"],
        ),
        ({"b": "x"}, (math.nan, "x"), ["no column 'a'"]),
    ],
)
def test_a_further_field_is_a_number_or_a_category(row: dict, fields: tuple, words: list[str]) -> None:
    found, flaws = parse_fields(row, ColumnNames(("a",), ("b",)))
    assert repr(found) == repr(fields) and bool(flaws) == bool(words)
    assert all(re.search(word, flaws) for word in words)


@pytest.mark.parametrize(
    ("text", "is_good"), [("a b", True), ("", False), (" a", False), ("a ", False), ("a\tb", False), ("a\u200bb", False)]
)
def test_an_id_can_be_read_as_it_is_written(text: str, is_good: bool) -> None:
    assert (table._flaws_of_id(text, "id") == []) == is_good


@pytest.mark.parametrize(
    ("text", "row", "wrong"),
    [
        ("SALT", {"Na": "1", "Cl": "1", "nsites": "2", "other": "?"}, ""),
        ("SALT", {"Na": "1", "Cl": "2", "O": "0", "nsites": "3"}, "Cl='2' but 1 in the structure, nsites='3' but 2 atoms"),
        ("SALT", {"Na": "1"}, "no count column for Cl"),
        ("SALT", {"Na": "1", "Cl": "1", "O": ""}, "O='' but 0 in the structure"),
        ("SALT", {"P": "7", "nsites": "3"}, None),
        ("Na2Cl2", {"Na": "0.5", "Cl": "0.5", "nsites": "9"}, ""),
        ("Na2Cl2", {"Na": "1", "Cl": "3"}, "Na='1' but 2 in the formula, Cl='3' but 2 in the formula"),
        ("Na2Cl2", {"Na": "1.002", "Cl": "0.998"}, ""),
        ("Na2Cl2", {"Na": "1.005", "Cl": "0.995"}, "Na='1.005' but 2 in the formula"),
    ],
)
def test_counts_of_atoms_agree_with_the_structure_or_in_proportion_with_the_formula(
    text: str, row: dict, wrong: str | None
) -> None:
    """Columns that a task names are no counts."""
    salt = Crystal.from_cif(cifs.GOOD) if text == "SALT" else Crystal.from_formula(text)
    if wrong is None:
        assert table.contradictions(salt, row, ("P", "nsites")) == []
        assert "no count column for Na, no count" in table.contradictions(salt, row)[0].replace(
            "P='7' but 0 in the structure, ", ""
        )
        return
    found = table.contradictions(salt, row)
    assert len(found) == bool(wrong) and wrong in "".join(found)


NUMBERS_LAST = "Na Cl\n1.0\n3 0 0\n0 3 0\n0 0 3\n1 1\nDirect\n0 0 0 Na\n.5 .5 .5 Cl\n"


def test_the_numbers_of_atoms_of_a_poscar_are_in_line_six_or_seven() -> None:
    assert crystal_in(NUMBERS_LAST, "poscar").reduced_formula == "NaCl"
    with pytest.raises(ValueError, match="neither line 6 nor line 7 has the numbers of atoms"):
        crystal_in(NUMBERS_LAST.replace("1 1\n", "Na Cl\none one\n1 1\n"), "poscar")
