"""Bad structures in other formats than CIF, and bad formulas, in the fourth row of a table without other columns."""

import io
import json
from collections.abc import Callable

import pandas as pd
from place import Bad, Outcome, Place
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Poscar

from src.data.crystal import Crystal

TEXTS: dict[str, Callable[[Structure], str]] = {
    "poscar": lambda structure: Poscar(structure).get_str(),
    "json": lambda structure: json.dumps(structure.as_dict()),
    "file": lambda structure: f"{structure.formula.replace(' ', '')}.json",
    "formula": lambda structure: structure.formula,
}
GOOD = Structure([[5, 0, 0], [0, 5, 0], [0, 0, 5]], ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
DICT = GOOD.as_dict()
POSCAR = TEXTS["poscar"](GOOD)
WITHOUT_ELEMENTS = POSCAR.replace("Na Cl\n", "", 1).replace(" Na\n", "\n").replace(" Cl\n", "\n")
BEFORE_ATOMS = POSCAR[: POSCAR.index("direct")]


def place_text(place: Place, form: str, text: str) -> None:
    """Write the tables in another format, and a text of it into the fourth row."""
    description = (place.task / "task.toml").read_text().replace("[files]", f'structure_format = "{form}"\n[files]')
    (place.task / "task.toml").write_text(description + ('structures = "structures"\n' if form == "file" else ""))
    for which in ("train", "test"):
        rows = pd.read_csv(io.StringIO(place.text(which)), dtype=str, keep_default_na=False)
        structures = [Crystal.from_cif(cif).to_structure() for cif in rows["cif"]]
        rows["cif"] = [TEXTS[form](structure) for structure in structures]
        if form == "file":
            (place.task / "structures").mkdir(exist_ok=True)
            for name, structure in zip(rows["cif"], structures, strict=True):
                (place.task / "structures" / name).write_text(json.dumps(structure.as_dict()))
        if which == "train":
            rows.loc[3, "cif"] = text
        columns = [name for name in ("id", "cif", "formation_energy_per_atom") if name in rows]
        place.write(which, rows[columns].to_csv(index=False).encode())


def bad(form: str, name: str, text: str, *words: str, outcome: Outcome = "refused") -> Bad:
    always = ("train.csv.gz", "record 5, 'x-3'", "'cif'", "correct them, or leave them out with --skip-bad-rows")
    return Bad(form, name, lambda place: place_text(place, form, text), (*always, *words), outcome=outcome)


def named(name: str, file: str, content: str | None, *words: str) -> Bad:
    """A file that the fourth row names. content: None: there is no such file."""
    entry = bad("file", name, file, *words)

    def damage(place: Place) -> None:
        entry.damage(place)
        if content is not None:
            (place.task / "structures" / file).write_text(content)

    return Bad("file", name, damage, entry.words)


def without_folder(place: Place) -> None:
    place_text(place, "file", "a.json")
    (place.task / "structures").rename(place.task / "elsewhere")


def changed(path: list[str | int], value: object) -> str:
    """Return the JSON of the good structure with one value changed."""
    data = json.loads(json.dumps(DICT))
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(data)


SECRET = {"@module": "subprocess", "@class": "Popen", "args": ["touch", "executed"]}
POSCARS = [
    bad("poscar", "empty", "", "not a POSCAR"),
    bad("poscar", "a CIF", "data_NaCl\n_cell_length_a 5.0\n", "not a POSCAR"),
    bad("poscar", "no elements", WITHOUT_ELEMENTS, "names no elements; write their symbols into line 6"),
    bad("poscar", "an unknown element", POSCAR.replace("Na Cl\n", "Na Xx\n"), "Xx"),
    bad("poscar", "a bomb of atoms", POSCAR.replace("1 1\n", "1 99999999999\n"), "1000000000 atoms; the limit is 2000"),
    bad("poscar", "a bomb after zeros", POSCAR.replace("1 1\n", "1 00000000099999999999\n"), "atoms; the limit is 2000"),
    bad("poscar", "cut off", BEFORE_ATOMS + "direct\n0 0 0 Na\n"),
    bad("poscar", "a cell in words", POSCAR.replace("5.0", "five", 1)),
    bad("poscar", "coincident atoms", POSCAR.replace("0.5", "0.0"), "coincident atoms"),
    bad("poscar", "coordinates that are NaN", POSCAR.replace("0.5000000000000000", "nan"), "not finite"),
    bad("poscar", "line ends of Windows", POSCAR.replace("\n", "\r\n"), outcome="accepted"),
]
JSONS = [
    bad("json", "empty", "", "Expecting value"),
    bad("json", "half", json.dumps(DICT)[:200], "Unterminated string"),
    bad("json", "of Python", str(DICT), "Expecting property name"),
    bad("json", "another object", '{"lattice": 1}', "not the JSON of a pymatgen Structure"),
    bad("json", "a list", f"[{json.dumps(DICT)}, {json.dumps(DICT)}]", "holds 2 structures, expected one"),
    bad("json", "nested a hundred thousand times", "[" * 100_000, "RecursionError"),
    bad("json", "disordered", changed(["sites", 0, "species", 0, "occu"], 0.5), outcome="accepted"),
    bad("json", "an unknown element", changed(["sites", 0, "species", 0, "element"], "Xx"), "Xx"),
    bad("json", "a coordinate that is NaN", changed(["sites", 0, "abc"], [float("nan"), 0, 0]), "not finite"),
    bad("json", "two coordinates", changed(["sites", 0, "abc"], [0, 0])),
    bad("json", "a flat cell", changed(["lattice", "matrix"], [[5, 0, 0], [5, 0, 0], [0, 0, 5]]), "no volume"),
    bad("json", "an infinite cell", changed(["lattice", "matrix", 0], [float("inf"), 0, 0])),
    bad("json", "3,000 atoms", changed(["sites"], DICT["sites"] * 1500), "3000 atoms; the limit is 2000"),
    bad("json", "an object that would be called", changed(["properties"], {"x": SECRET}), outcome="accepted"),
]
FILES = [
    named("missing", "a.json", None, "a.json is missing"),
    named("outside", "../task.toml", None, "is not the name of a file inside"),
    named("an absolute path", "/etc/passwd", None, "is not the name of a file inside"),
    named("no name", "", None, "is not the name of a file inside"),
    named("another kind", "a.pdb", "ATOM", "not a kind of file that is read: .cif, .json"),
    named("several structures", "a.json", f"[{json.dumps(DICT)}, {json.dumps(DICT)}]", "holds 2 structures, expected one"),
    named("no structure", "a.json", "[]", "holds no structure"),
    named("half", "a.json", json.dumps(DICT)[:100], "Expecting"),
    named("a POSCAR without elements", "POSCAR", WITHOUT_ELEMENTS, "names no elements"),
    Bad("file", "no folder", without_folder, ("structures is missing", "names it as the task's structures")),
]
FORMULAS = [
    bad("formula", "empty", "", "not a formula"),
    bad("formula", "words", "salt", "not a formula such as Fe2O3"),
    bad("formula", "an unknown element", "NaXx", "Xx is not an element"),
    bad("formula", "deuterium", "D2O", "D is deuterium; write H"),
    bad("formula", "a variable", "LixCoO2", "not a formula"),
    bad("formula", "an open bracket", "Ca(OH", "not a formula"),
    bad("formula", "a charge", "Na+", "not a formula"),
    bad("formula", "a hydrate with a dot", "CuSO4.5H2O", "can be read in two ways"),
    bad("formula", "a million atoms", "C1000000", "the limit is 10000"),
    bad("formula", "an amount of 280 digits", "C" + "9" * 280, "the limit is 10000"),
    bad("formula", "of 100,000 characters", "H" * 100_000, "100000 characters; the limit is 300"),
    bad("formula", "a bomb of brackets", "(" * 149 + "H" + ")" * 149, outcome="accepted"),
    bad("formula", "fractions and subscripts", "Li₀.₅CoO₂", outcome="accepted"),
]
ENTRIES = [*POSCARS, *JSONS, *FILES, *FORMULAS]
