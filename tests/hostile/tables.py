"""Bad tables, task descriptions and sample submissions."""

import gzip
from collections.abc import Callable

from place import Bad, Outcome, Place

TARGET = "formation_energy_per_atom"
FILE = "train.csv.gz"
COPY = "Copy or download it again"
LEAVE_OUT = "correct them, or leave them out with --skip-bad-rows"


def table(name: str, change: Callable[[str], str], *words: str, outcome: Outcome = "refused") -> Bad:
    return Bad("table", name, lambda place: place.edit("train", change), (FILE, *words), outcome=outcome)


def raw(name: str, change: Callable[[bytes], bytes], *words: str) -> Bad:
    """A table whose bytes on disk are changed."""

    def damage(place: Place) -> None:
        path = place.task / FILE
        path.write_bytes(change(path.read_bytes()))

    return Bad("table", name, damage, (FILE, *words))


def row(name: str, change: dict[str, str], *words: str, which: str = "train", remedy: str = LEAVE_OUT) -> Bad:
    """A table with some fields of its fourth row changed."""
    named = repr(change.get("id", "x-3" if which == "train" else "x-15")[:200])
    damage = lambda place: place.edit_rows(which, lambda rows: rows[3].update(change))
    return Bad("row", name, damage, (f"{which}.csv", "record 5", named, *words, remedy))


def task(name: str, old: str, new: str, *words: str) -> Bad:
    """A task.toml with some of its text changed."""

    def damage(place: Place) -> None:
        path = place.task / "task.toml"
        assert old in path.read_text()
        path.write_bytes(path.read_text().replace(old, new).encode("latin-1"))

    return Bad("task.toml", name, damage, words)


def sample(name: str, change: Callable[[str], str], *words: str, outcome: Outcome = "refused") -> Bad:
    damage = lambda place: place.edit("sample_submission", change)
    return Bad("sample submission", name, damage, words, Place.submit, outcome)


def lines(change: Callable[[list[str]], object]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        split = text.splitlines()
        change(split)
        return "\n".join(split) + "\n"

    return changed


def a_link_outside(place: Place) -> None:
    outside = place.root / FILE
    (place.task / FILE).rename(outside)
    (place.task / FILE).symlink_to(outside)


def swells(line: bytes, n: int) -> Callable[[bytes], bytes]:
    """A change to a gzip file that is small on disk and large in memory: many copies of one compressed member."""
    head, part = gzip.compress(b"id,cif,formation_energy_per_atom\n"), gzip.compress(line * 100_000)
    return lambda _: head + part * (n // 100_000)


TABLES = [
    table("empty", lambda _: "", "the file is empty"),
    table("header alone", lambda text: text.splitlines()[0] + "\n", "the table has no rows"),
    raw("no gzip file", lambda _: b"id,cif\n", "not a readable CSV file", COPY),
    raw("half a gzip file", lambda content: content[: len(content) // 2], "not a readable CSV file", COPY),
    raw("a byte of gzip changed", lambda c: c[:900] + bytes([c[900] ^ 255]) + c[901:], "not a readable CSV file", COPY),
    raw("Latin-1", lambda c: gzip.compress(gzip.decompress(c).replace(b"x-3,", b"x-\xe9,")), "not UTF-8", "save it as UTF-8"),
    raw("UTF-16", lambda c: gzip.compress(gzip.decompress(c).decode().encode("utf-16")), "not UTF-8", "save it as UTF-8"),
    table("NUL bytes", lambda text: text.replace("x-3,", "x-\0,"), "NUL bytes", "is it a complete CSV file in UTF-8?"),
    table("semicolons", lambda text: text.replace(",", ";"), "one column", "separated by semicolons? Use commas"),
    table("tabs", lambda text: text.replace(",", "\t"), "one column", "separated by tabs? Use commas"),
    table("a field too few", lambda text: text.replace("\nx-3,", "\nx-3", 1), "records [5]", "quote fields"),
    table("a field too many", lambda text: text.replace("\nx-3,", "\nx-3,0,", 1), "records [5]", "quote fields"),
    table("a quote left open", lambda text: text.rstrip("\n") + '\nx-99,"0', "record 14", "is a quote missing?"),
    table("cut off in the last row", lambda text: text[: text.rindex("data_")], "record 13", "is a quote missing?"),
    table("a column twice", lambda text: text.replace("Ac,", "Ag,", 1), "'Ag'", "remove or rename them"),
    table("no id column", lambda text: text.replace("id,", "name,", 1), "no column 'id'", "named in task.toml"),
    table("no structure column", lambda text: text.replace(",cif,", ",structure,", 1), "no column 'cif'", "named in task.toml"),
    table("no target column", lambda text: text.replace(TARGET, "energy"), f"no column '{TARGET}'", "named in task.toml"),
    table("a huge field", lambda text: text.replace("x-3,", "x-3" + "z" * 2_000_000 + ",", 1), "line", "is it a CSV"),
    table("ten thousand columns", lambda t: ",".join(["id", *(f"c{i}" for i in range(10_000))]) + "\n", "the limit is 5000"),
    raw("a bomb of one line", swells(b"0" * 1000, 10_000_000), "line 2 has 1000000 characters or more"),
    raw("a bomb of short lines", swells(b"1,2\n", 100_000_000), "do not have the 3 columns"),
    raw("a bomb of rows", swells(b"1,2,3\n", 100_000_000), "more than 1000000 rows", "split the table"),
    table("BOM", lambda text: "\ufeff" + text, outcome="accepted"),
    table("line ends of Windows", lambda text: text.replace("\n", "\r\n"), outcome="accepted"),
    table("blank lines between rows", lambda text: text.replace("\nx-3,", "\n\n\nx-3,"), outcome="accepted"),
]
ROWS = [
    row("empty id", {"id": ""}, "empty 'id'"),
    row("id twice", {"id": "x-0"}, "duplicate id"),
    row("space after the id", {"id": "x-3 "}, "leading or trailing spaces"),
    row("line break in the id", {"id": "x\n3"}, "line breaks"),
    row("id of 10,000 characters", {"id": "x" * 10_000}, "10000 characters; the limit is 200"),
    row("target NaN", {TARGET: "nan"}, "is 'nan', not a finite number"),
    row("target beyond double precision", {TARGET: "1e999"}, "is '1e999', not a finite number"),
    row("target in words", {TARGET: "minus one"}, "not a finite number"),
    row("target with a decimal comma", {TARGET: "-1,5"}, "not a finite number"),
    row("target with an underscore", {TARGET: "1_0"}, "not a finite number"),
    row("target missing", {TARGET: ""}, "not a finite number"),
    row("count of another structure", {"Xe": "1"}, "Xe='1' but 0"),
    row("count that is no number", {"Xe": "many"}, "Xe='many' but 0"),
    row("nsites of another structure", {"nsites": "7"}, "nsites='7' but 2 atoms"),
    row("bad test row", {"Xe": "1"}, "Xe='1' but 0", which="test", remedy="a test row is never left out: correct"),
]
TASKS = [
    task("no TOML", "[files]", "files]", "task.toml", "line", "compare it with input/flla/task.toml"),
    task("Latin-1", "eV/atom", "\xc5", "task.toml", "utf-8", "compare it with"),
    task("no target column", 'target_column = "', 'target = "', "task.toml: unknown target", "there are id_column"),
    task("target and targets", "target_column", 'targets = ["x"]\ntarget_column', "task.toml: expected target_column", "or, for"),
    task("a list of no targets", 'target_column = "formation_energy_per_atom"', "targets = []", "task.toml: targets is []"),
    task("a number among the units", '"eV/atom"', '["eV/atom", 3]', "task.toml: unit.1 is 3", "a valid string"),
    task("a unit too many", '"eV/atom"', '["eV/atom", "eV"]', "task.toml: unit is", "one for each target"),
    task("columns that are no list", "[files]", 'numeric_columns = "x"\n[files]', "numeric_columns is 'x'", "a valid list"),
    task("another format", "[files]", 'structure_format = "pdb"\n[files]', "structure_format is 'pdb'", "'cif', 'poscar'"),
    task("files without a folder", "[files]", 'structure_format = "file"\n[files]', "must name the folder `structures`"),
    task("a knob that nobody reads", "[files]", "metrics = 1\n[files]", "task.toml: unknown metrics", "there are id_column"),
    task("a number for a name", '"id"', "7", "task.toml: id_column is 7", "a valid string"),
    task("a column for two purposes", '"cif"', '"id"', "task.toml: 'id' is named as two columns", "expected different columns"),
    task("another metric", '"mae"', '"auc"', "task.toml: metric is 'auc'", "'mae', 'rmse', 'rmsle'"),
    task("a logarithm of targets below -1", '"mae"', '"rmsle"', FILE, "'rmsle' requires targets above -1", "'x-", "or choose"),
    task("a file outside", f'"{FILE}"', '"../../secret.csv"', "task.toml: [files] train", "not a file inside"),
    task("an absolute path", f'"{FILE}"', '"/etc/passwd"', "task.toml: [files] train", "not a file inside"),
    task("a name of 5,000 characters", f'"{FILE}"', f'"{"x" * 5000}"', "task.toml: [files] train", "not a file inside"),
    task("a file that is not there", f'"{FILE}"', '"traim.csv"', "traim.csv is missing", "names it as the task's train"),
    task("no sample submission", 'sample_submission = "sample_submission.csv"', "", "task.toml: [files] must name both"),
    task("folds that are not there", "[files]", '[files]\nfolds = "folds.csv"', "folds.csv is missing", "the task's folds"),
    task("a megabyte", "[files]", "#" * 1_000_000 + "\n[files]", "task.toml", "at most 100000 are read"),
    Bad("task.toml", "a link to a file outside", a_link_outside, (), outcome="accepted"),
    Bad("task.toml", "missing", lambda place: (place.task / "task.toml").unlink(), ("is missing", "input/new_task.py writes it")),
]


def further(name: str, damage: Callable[[Place], object], *words: str) -> Bad:
    """A task with a numeric and a categorical column, one of whose tables is damaged."""

    def name_columns(place: Place) -> None:
        path = place.task / "task.toml"
        named = 'numeric_columns = ["nelements"]\ncategorical_columns = ["formula_pretty"]\n[files]'
        path.write_text(path.read_text().replace("[files]", named))
        damage(place)

    return Bad("further columns", name, name_columns, words)


def field(name: str, text: str) -> Callable[[Place], object]:
    return lambda place: place.edit_rows("train", lambda rows: rows[3].update({name: text}))


def without_numbers(place: Place) -> None:
    place.edit_rows("test", lambda rows: [row.pop("nelements") for row in rows])


NO_NUMBER = ("'nelements' is 'two', not a number", "leave the field empty if it is unknown")
FURTHER = [
    further("a number in words", field("nelements", "two"), FILE, "record 5", "'x-3'", *NO_NUMBER, LEAVE_OUT),
    further("a long category", field("formula_pretty", "x" * 999), "'x-3'", "has 999 characters; the limit is 200", LEAVE_OUT),
    further("none in the test table", without_numbers, "test.csv.gz", "no column 'nelements'", "named in task.toml"),
]
NAME = "sample_submission.csv"
TAKE = "take the competition's file"
SAMPLES = [
    sample("another id", lambda text: text.replace("x-13", "y-13"), NAME, "['y-13']", "['x-13']", TAKE),
    sample("an id missing", lines(lambda rows: rows.pop(2)), NAME, "lacks 1 of theirs ['x-13']", TAKE),
    sample("an id twice", lambda text: text.replace("x-13", "x-12"), NAME, "'x-12' is duplicated", TAKE),
    sample("no id column", lambda text: text.replace("id,", "name,"), NAME, "expected the columns 'id'"),
    sample("two columns of predictions", lambda text: text.replace("\n", ",0\n"), NAME, "expected the"),
    sample("semicolons", lambda text: text.replace(",", ";"), NAME, "Use commas"),
    sample("empty", lambda _: "", NAME, "the file is empty"),
    sample("another order", lines(lambda rows: rows.__setitem__(slice(1, None), rows[:0:-1])), outcome="accepted"),
    sample("BOM", lambda text: "\ufeff" + text, outcome="accepted"),
]


def given(name: str, change: Callable[[str], str], *words: str, outcome: Outcome = "refused") -> Bad:
    """A file of folds, named in task.toml; change: of a right one."""

    def damage(place: Place) -> None:
        path = place.task / "task.toml"
        path.write_text(path.read_text() + 'folds = "folds.csv"\n')
        right = "id,fold\n" + "".join(f"x-{i},{i % 2}\n" for i in range(12))
        (place.task / "folds.csv").write_text(change(right))

    return Bad("given folds", name, damage, ("folds.csv", *words), outcome=outcome)


GIVEN_FOLDS = [
    given("an id missing", lambda text: text.replace("x-3,1\n", ""), "1 training rows have no fold: ['x-3']", "give each"),
    given("an id twice", lambda text: text.replace("x-3,", "x-2,"), "record 5, 'x-2' is duplicated", "give each"),
    given("an id of nobody", lambda text: text.replace("x-3,", "y,"), "record 5, 'y': the training table has no such row"),
    given("a gap", lambda text: text.replace(",1\n", ",2\n"), "fold 1 of 3 has no training row", "number the folds 0, 1"),
    given("one fold", lambda text: text.replace(",1\n", ",0\n"), "fold 1 of 2 has no training row", "number the folds"),
    given("in words", lambda text: text.replace("x-3,1", "x-3,one"), "record 5, 'x-3': fold is 'one'", "number the folds"),
    given("beyond reason", lambda text: text.replace("x-3,1", "x-3," + "9" * 50_000), "record 5", "number the folds"),
    given("no fold column", lambda text: text.replace("id,fold", "id,split"), "expected the columns 'id' and 'fold'"),
    given("semicolons", lambda text: text.replace(",", ";"), "Use commas"),
    given("another order", lines(lambda rows: rows.__setitem__(slice(1, None), rows[:0:-1])), outcome="accepted"),
]


def zero_label(place: Place) -> None:
    place.edit_rows("test_labels", lambda rows: rows[1].update({TARGET: "0.0"}))
    path = place.task / "task.toml"
    path.write_text(path.read_text().replace('metric = "mae"', 'metric = "mape"'))


def labels(name: str, change: Callable[[str], str], *words: str) -> Bad:
    command = lambda place: place.compare("--score")
    return Bad("test labels", name, lambda place: place.edit("test_labels", change), ("test_labels.csv.gz", *words), command)


LABELS = [
    labels("in words", lambda text: text.replace("x-13,", "x-13,minus"), "'x-13'", "not finite", "correct it"),
    labels("an id twice", lambda text: text.replace("x-13,", "x-12,"), "'x-12'", "is duplicated", "correct it"),
    Bad("test labels", "zero for a percentage", zero_label,
        ("test_labels.csv.gz", "'x-13': 0", "other than 0", "correct or remove"), lambda place: place.compare("--score")),
]  # fmt: skip


def first_target(text: str) -> str:
    """Return a table without its last column."""
    return "".join(line.rpartition(",")[0] + "\n" for line in text.splitlines())


READERS = {"train": Place.train, "sample_submission": Place.submit, "test_labels": lambda place: place.compare("--score")}


def several(name: str, which: str, change: Callable[[str], str], *words: str) -> Bad:
    """A file of a task with two targets, the second of which is `gap`; change: of a right one."""

    def damage(place: Place) -> None:
        for table in READERS:
            place.edit_rows(table, lambda rows: [row.update({"gap": "1.5"}) for row in rows])
        path = place.task / "task.toml"
        path.write_text(path.read_text().replace(f'target_column = "{TARGET}"', f'targets = ["{TARGET}", "gap"]'))
        place.edit(which, change)

    return Bad("several targets", name, damage, (f"{which}.csv", *words), READERS[which])


AS_NAMED = "named as the targets in task.toml"
SEVERAL = [
    several("a sample of one", "sample_submission", first_target, "expected the columns 'id' and", AS_NAMED),
    several("a sample with another name", "sample_submission", lambda t: t.replace("gap", "bandgap"), AS_NAMED, "'gap'; found"),
    several("labels of one", "test_labels", first_target, ".gz: expected the columns 'id' and 'gap'"),
    several("a label in words", "test_labels", lambda t: t.replace("1.5", "wide", 1), "'x-12'", "its 'gap' is not finite"),
    several("a target in words", "train", lambda t: t.replace(",1.5", ",wide", 1), "'x-0'", "'gap' is 'wide', not a finite"),
    several("a table without one", "train", lambda t: t.replace("gap", "bandgap", 1), "no column 'gap', named in task.toml"),
]
ENTRIES = [*GIVEN_FOLDS, *TABLES, *ROWS, *FURTHER, *TASKS, *SAMPLES, *LABELS, *SEVERAL]
