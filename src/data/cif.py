"""CIF text -> one crystal, or the reason why there is none.

`read_plain` reads the layout that pymatgen writes for a cell without symmetry, and most tables of structures, FLLA's among them,
hold nothing else: that takes a tenth of the time of pymatgen's parser, which takes half a second to import. Its numbers are the
parser's to the last bit; any text of which that is not certain is left to `parse_cif`.

`parse_cif` rejects input that pymatgen would misread, or spend hours on, before symmetry is applied: pymatgen drops sites with
unknown elements or zero occupancy, reads a dot as zero, falls back to P1, and takes time proportional to sites times operations.
"""

import re
import warnings
from functools import cache
from math import floor, isclose
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice, Structure, SymmOp

if TYPE_CHECKING:
    from pymatgen.io.cif import CifParser

MAX_ATOMS = 2_000  # of a cell, after symmetry is applied
THIRDS = (1 / 3, 2 / 3)
TOLERANCE = 1e-4  # within which the ratio of a coordinate to a third is taken for one, as pymatgen does
PARAMETERS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
DECIMAL = r"\d{1,9}\.\d{1,16}"
PLACE = r"  (-?\d{1,3}\.\d{1,16})"
CELL_LINE = re.compile(rf"^_cell_({'|'.join(PARAMETERS)}) +({DECIMAL})\n", re.MULTILINE)
SITE = re.compile(rf"^  ([A-Z][a-z]?)  \w+  1{PLACE * 3}  1(?:\.0)?\n", re.MULTILINE | re.ASCII)
LAYOUT = re.compile(
    rf"""(?:\#[ -~]*\n)*
    data_[\w()]{{1,200}}\n
    (?P<head>(?:
        _symmetry_space_group_name_H-M[ ]+'P[ ]1'\n | _symmetry_Int_Tables_number[ ]+1\n
        | _cell_(?:{"|".join(PARAMETERS)}|volume)[ ]+{DECIMAL}\n | _cell_formula_units_Z[ ]+\d+\n
        | _chemical_formula_(?:structural|sum)[ ]+(?:'[\w ()]{{1,500}}'|[\w()]{{1,500}})\n
    )+)
    loop_\n [ ]_symmetry_equiv_pos_site_id\n [ ]_symmetry_equiv_pos_as_xyz\n [ ][ ]1[ ][ ]'x,[ ]y,[ ]z'\n
    loop_\n [ ]_atom_site_type_symbol\n [ ]_atom_site_label\n [ ]_atom_site_symmetry_multiplicity\n
    [ ]_atom_site_fract_x\n [ ]_atom_site_fract_y\n [ ]_atom_site_fract_z\n [ ]_atom_site_occupancy\n
    (?P<sites>(?:[ ][ ][A-Z][^\n]*\n)+) \n*""",
    re.VERBOSE | re.ASCII,
)
MAX_CHARACTERS = 500_000  # of a CIF; 2,000 atoms take 150,000
MAX_CIF_LINE = 2048  # characters; CIF 1.1 (International Tables G, 2006, ch. 2.2) allows no more
MAX_BLOCKS = 50
MAX_OPERATIONS = 400  # the largest conventional cells have 192
MAX_IMAGES = 10_000  # sites times operations
MAX_COORDINATE = 1_000.0  # fractional
WHOLE = 0.99  # occupancy from which on a site counts as full: 0.999 is a rounded 1, and 0.98 is disorder
BLOCK = re.compile(r"^\s*data_", re.MULTILINE)  # where pymatgen begins a block
LISTS_ATOMS = re.compile(r"(?<!\S)_atom_site_label(?!\S)")
FRACTIONS = tuple(f"_atom_site_fract_{axis}" for axis in "xyz")
CELL = tuple(f"_cell_{parameter}" for parameter in PARAMETERS)
OPERATIONS = re.compile(r"_(symmetry_equiv_pos_as_xyz|space_group_symop_operation_xyz)_?")
Block = dict[str, Any]


def read_plain(text: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]] | None:
    """Return lattice (3, 3), Angstrom, fractional coordinates (n_atoms, 3) and atomic numbers (n_atoms,), or None.

    Atoms are in pymatgen's order. Whether the crystal is a sound one is not checked.
    """
    layout = LAYOUT.fullmatch(text)
    if layout is None:
        return None
    cell, sites = CELL_LINE.findall(layout["head"]), SITE.findall(layout["sites"])
    numbers = [_atomic_number(symbol) for symbol, *_ in sites]
    parameters = [float(dict(cell).get(name, 0)) for name in PARAMETERS]
    if len(sites) != layout["sites"].count("\n") or len(sites) > MAX_ATOMS or None in numbers:
        return None
    if len(cell) != len(PARAMETERS) or min(parameters) == 0 or max(parameters[3:]) >= 180:
        return None
    lattice = Lattice.from_parameters(*parameters)
    if not np.allclose(lattice.parameters, parameters, rtol=1e-3, atol=0):  # no cell has them
        return None
    order = sorted(range(len(sites)), key=lambda i: _place(sites[i][0]))
    frac = [[_in_cell(float(x)) for x in sites[i][1:]] for i in order]
    return lattice.matrix, np.array(frac), np.array([numbers[i] for i in order], dtype=np.int64)


@cache
def _atomic_number(symbol: str) -> int | None:
    """Return the atomic number; None for what is no element, or for one without electronegativity, whose place is uncertain."""
    element = Element(symbol) if Element.is_valid_symbol(symbol) else None
    return None if element is None or _place(symbol)[0] == 0 else element.Z


@cache
def _place(symbol: str) -> tuple[float, str]:
    """Return the key by which pymatgen sorts sites; the electronegativity is 0 if it does not know any."""
    electronegativity = Element(symbol).data.get("X")
    return electronegativity or 0.0, symbol


def _in_cell(x: float) -> float:
    """Return a fractional coordinate as pymatgen's parser does: thirds exactly, and from 0 to 1."""
    x = next((third for third in THIRDS if isclose(x / third, 1, rel_tol=0, abs_tol=TOLERANCE)), x + 0.0)
    return x - floor(x)


def parse_cif(text: str) -> Structure:
    """Return the structure in a CIF, in the cell as written; raise ValueError if it is not just one or beyond the limits."""
    from pymatgen.io.cif import CifParser  # takes half a second to import

    lines = _lines(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one per file about rounding: 0.3333 becomes 1/3, as intended
        try:
            parser = CifParser.from_str(lines, occupancy_tolerance=2 - WHOLE)
        except Exception as error:  # pymatgen raises exceptions of nearly any type
            raise ValueError(f"not a CIF: {type(error).__name__}: {error}") from error
        blocks = [block for block in parser.as_dict().values() if "_atom_site_label" in block]
        if len(blocks) != 1:
            raise ValueError(f"the CIF contains {len(blocks)} structures, expected one (a data_ block with _atom_site_label)")
        for name in CELL:
            largest = 180.0 if "angle" in name else np.inf
            if name in blocks[0] and not 0 < _number(str(blocks[0][name])) < largest:
                raise ValueError(f"the cell has no volume: {name} is {blocks[0][name]}")
        _check_symmetry(blocks[0], _check_sites(blocks[0]))
        return _expand(parser, blocks[0])


def blocks_in(text: str) -> list[tuple[str, str]]:
    """Return name and text of each data block that lists atoms; only one, the whole text, if there are not several."""
    blocks = [f"data_{part}" for part in BLOCK.split(text)[1:] if LISTS_ATOMS.search(part)]
    return [(block.split(None, 1)[0].removeprefix("data_"), block) for block in blocks] if len(blocks) > 1 else [("", text)]


def _lines(text: str) -> str:
    """Return the text without blank lines, which pymatgen skips more slowly, after checking its size."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the CIF has {len(text)} characters; the limit is {MAX_CHARACTERS}")
    # characters outside ASCII become question marks: dropping them, as pymatgen does, could turn one number into another
    lines = [line for line in text.removeprefix("\ufeff").encode("ascii", "replace").decode().splitlines() if line.strip()]
    longest = max(map(len, lines), default=0)
    if longest > MAX_CIF_LINE:
        raise ValueError(f"the CIF has a line of {longest} characters; the format allows {MAX_CIF_LINE}")
    names = [line.split()[0] for line in lines if line.lstrip().startswith("data_")]
    if len(names) > MAX_BLOCKS or len(set(names)) < len(names):
        raise ValueError(f"the CIF has {len(names)} data blocks with {len(set(names))} different names, expected one crystal")
    return "\n".join(lines) + "\n"


def _check_sites(block: Block) -> int:
    """Return the number of listed sites; raise ValueError naming the first that is no part of an atom at one position."""
    symbols = "_atom_site_type_symbol" if "_atom_site_type_symbol" in block else "_atom_site_label"
    columns = ["_atom_site_label", symbols, *FRACTIONS, *({"_atom_site_occupancy"} & set(block))]
    missing = [name for name in columns if not isinstance(block.get(name), list)]
    if missing:
        raise ValueError(f"the CIF has no loop with {', '.join(missing)}")
    if len({len(block[name]) for name in columns}) > 1:
        raise ValueError("the _atom_site_ columns differ in length")
    if len(block["_atom_site_label"]) > MAX_ATOMS:
        raise ValueError(f"the CIF has {len(block['_atom_site_label'])} sites; the limit is {MAX_ATOMS} atoms")
    occupancies = block.get("_atom_site_occupancy", ["1"] * len(block["_atom_site_label"]))
    for i, label in enumerate(block["_atom_site_label"]):
        symbol = re.match("[A-Za-z]*", block[symbols][i])
        if not symbol or not Element.is_valid_symbol(symbol.group()):
            raise ValueError(f"site {label!r}: {symbols} {block[symbols][i]!r} does not start with an element symbol")
        for name in FRACTIONS:
            if not abs(_number(block[name][i])) <= MAX_COORDINATE:
                raise ValueError(f"site {label!r}: {name} is {block[name][i]!r}, not a fractional coordinate")
        if occupancies[i] != "?" and not 0 < _number(occupancies[i]) <= 1:
            raise ValueError(f"site {label!r}: occupancy {occupancies[i]}, must be above 0 and at most 1")
    return len(block["_atom_site_label"])


def _number(text: str) -> float:
    """Return a CIF number without its uncertainty in parentheses; NaN for anything else, including a dot."""
    from pymatgen.io.cif import str2float  # see `parse_cif`

    try:
        return float("nan") if text.strip() == "." or "_" in text else float(str2float(text))
    except ValueError:
        return float("nan")


def _check_symmetry(block: Block, n_sites: int) -> None:
    """Raise ValueError if an operation is invalid, or if applying all of them would take too long."""
    magnetic = [block.get(f"_space_group_symop_magn_{part}", []) for part in ("operation.xyz", "centering.xyz")]
    n_magnetic = [1 if isinstance(values, str) else len(values) for values in magnetic]
    written = {name: [text] if isinstance(text, str) else text for name, text in block.items() if OPERATIONS.fullmatch(name)}
    n_written = max([n_magnetic[0] * max(1, n_magnetic[1]), *map(len, written.values())])
    if n_written > MAX_OPERATIONS:
        raise ValueError(f"the CIF has {n_written} symmetry operations; the limit is {MAX_OPERATIONS}")
    for name, texts in written.items():
        if bad := [text for text in texts if not _is_isometry(text)]:
            raise ValueError(f"{name}: {bad[0]!r} is not a symmetry operation")
    groups = [name for name in block if re.search("space_group_name|int_tables_number|it_number", name, re.IGNORECASE)]
    is_p1 = all(re.sub(r"[\s_]", "", str(block[name])) in ("P1", "1") for name in groups)
    n_operations = n_written or 192 * (not is_p1)  # at most, if symbols imply them
    if (n_images := n_sites * n_operations) > MAX_IMAGES:
        raise ValueError(f"{n_sites} sites times {n_operations} operations give {n_images} images; the limit is {MAX_IMAGES}")


def _is_isometry(text: str) -> bool:
    """Return True if pymatgen can parse the operation (otherwise it would fall back to P1) and it preserves volumes."""
    try:
        return bool(abs(abs(np.linalg.det(SymmOp.from_xyz_str(text).rotation_matrix)) - 1) < 1e-3)
    except (ValueError, ZeroDivisionError, IndexError):
        return False


def _expand(parser: "CifParser", block: Block) -> Structure:
    """Return the structure after applying its symmetry, unless its cell differs from the one that the block writes.

    It does for negative lengths, and for angles that no cell has.
    """
    try:
        structures = parser.parse_structures(primitive=False, check_occu=True, on_error="ignore")
    except Exception as error:  # as in `parse_cif`
        causes = [text.split("\n", 1)[1] for text in parser.warnings if text.startswith("No structure parsed")]
        reason = causes[0] if causes else f"{type(error).__name__}: {error}"
        if "occupancies sum to more than 1" in reason or "Occupancy" in reason:
            reason = f"coincident atoms, or occupancies that sum to more than 1 ({reason})"
        raise ValueError(f"no crystal in the CIF: {reason}") from error
    if len(structures) != 1:
        raise ValueError(f"the CIF contains {len(structures)} structures, expected one")
    if len(structures[0]) > MAX_ATOMS:
        raise ValueError(f"the cell has {len(structures[0])} atoms; the limit is {MAX_ATOMS}")
    for name, value in zip(CELL, structures[0].lattice.parameters, strict=True):
        if name in block and not abs(_number(str(block[name])) - value) <= 1e-3 * max(1.0, abs(value)):
            raise ValueError(f"{name} {block[name]}: no cell has these lengths and angles")
    return structures[0]
