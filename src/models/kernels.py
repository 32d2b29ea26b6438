"""Kernels of the convolution, a pair for each set of paths: source text with all loops over terms written out, compiled by numba.

For a path with weight w and features h[m1] of the source, the message of an edge is

    w * sum over m1 of a[m1, m3] h[m1],    a[m1, m3] = sum over m2 of C[m1, m2, m3] Y[m2]

with scalars a, one for each pair (m1, m3) for which C has a non-zero entry: a *term*. With the terms written out, a message
takes about one multiplication and addition per term and channel, of values that stay in registers. The messages into a centre
are summed in a buffer that fits in the L1 cache; nothing is stored per edge.

Channels come in tiles of TILE, so that the compiler knows the length of the innermost loop and makes vector instructions of it.
The rows of a tiled array are flat: (n_tiles, n, TILE), where n counts components of features (l^2 + m), paths, or *slots*: pairs
of m3 and path.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from textwrap import indent
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.models.compiled import announce_compilation, jit
from src.models.tensor_product import Path, clebsch_gordan, paths_into

TILE = 16  # channels: two AVX2 vectors, or one of AVX-512
MAX_TERMS = 60  # of one loop


class Kernels(NamedTuple):
    """The kernels of a set of paths. slots: (n_slots, 3), l_out, m3, position of the path among those into l_out."""

    forward: Callable[..., None]
    backward: Callable[..., None]
    slots: NDArray[np.int64]


class Term(NamedTuple):
    """A scalar of an edge: its path, the component and the slot that it connects, and the code that computes it."""

    path: int
    component: int
    slot: int
    code: str


LinesOf = Callable[[list[tuple[int, Term]]], list[str]]  # numbered terms -> lines of a loop over channels


@jit
def load_slots(blocks, i, slots, buffer):  # type: ignore[no-untyped-def]
    """Copy the values of centre i to a tiled buffer. blocks: for each l_out a (2 l_out + 1, n_orbits, n_paths * n_channels)."""
    n_channels = buffer.size // len(slots)
    for s in range(len(slots)):
        start, row = slots[s, 2] * n_channels, blocks[slots[s, 0]][slots[s, 1], i]
        for t in range(n_channels // TILE):
            for c in range(TILE):
                buffer[(t * len(slots) + s) * TILE + c] = row[start + t * TILE + c]


@jit
def store_slots(buffer, i, slots, blocks):  # type: ignore[no-untyped-def]
    """Do the opposite of `load_slots`."""
    n_channels = buffer.size // len(slots)
    for s in range(len(slots)):
        start, row = slots[s, 2] * n_channels, blocks[slots[s, 0]][slots[s, 1], i]
        for t in range(n_channels // TILE):
            for c in range(TILE):
                row[start + t * TILE + c] = buffer[(t * len(slots) + s) * TILE + c]


@jit
def interpolate(table, first, weight, k, rows, i):  # type: ignore[no-untyped-def]
    """Set rows[i] to the values at length k: the sum of four weighted rows of the table."""
    n, p, q, r, s = first[k], weight[k, 0], weight[k, 1], weight[k, 2], weight[k, 3]
    for c in range(rows.shape[1]):
        rows[i, c] = p * table[n, c] + q * table[n + 1, c] + r * table[n + 2, c] + s * table[n + 3, c]


@jit
def interpolate_back(grad_rows, i, first, weight, k, grad_table):  # type: ignore[no-untyped-def]
    """Add the adjoint of `interpolate` to the rows of the table."""
    for q in range(4):
        n, w = first[k] + q, weight[k, q]
        for c in range(grad_rows.shape[1]):
            grad_table[n, c] += w * grad_rows[i, c]


FORWARD = """
def {name}(on_atoms, table, first, weight, sh, src, first_edge, length_index, slots, outs):
    n_tiles, exact = on_atoms.shape[1] // {row}, weight.shape[1] == 1
    total, between = np.empty(n_tiles * {n_slots} * TILE, np.float32), np.empty((1, table.shape[1]), np.float32)
    w = table if exact else between
    for i in range(len(first_edge) - 1):
        total[:] = 0
        for e in range(first_edge[i], first_edge[i + 1]):
            j, k = src[e], length_index[e]
            if not exact:
                interpolate(table, first, weight, k, between, 0)
                k = 0
            {values}
            for t in range(n_tiles):
                ph, pw, ps = t * {row}, t * {n_paths} * TILE, t * {n_slots} * TILE
                {loops}
        store_slots(total, i, slots, outs)
"""

BACKWARD = """
def {name}(on_atoms, table, first, weight, sh, src, first_edge, length_index, slots, grad_outs, grad_on_atoms, grad_table):
    n_tiles, exact = on_atoms.shape[1] // {row}, weight.shape[1] == 1
    grad = np.empty(n_tiles * {n_slots} * TILE, np.float32)
    between, grad_between = np.empty((1, table.shape[1]), np.float32), np.empty((1, table.shape[1]), np.float32)
    w, grad_w = (table, grad_table) if exact else (between, grad_between)
    for i in range(len(first_edge) - 1):
        load_slots(grad_outs, i, slots, grad)
        for e in range(first_edge[i], first_edge[i + 1]):
            j, k = src[e], length_index[e]
            if not exact:
                interpolate(table, first, weight, k, between, 0)
                grad_between[:] = 0
                k = 0
            {values}
            for t in range(n_tiles):
                ph, pw, ps = t * {row}, t * {n_paths} * TILE, t * {n_slots} * TILE
                {loops}
            if not exact:
                interpolate_back(grad_between, 0, first, weight, length_index[e], grad_table)
"""


def find_slots(paths: tuple[Path, ...]) -> dict[tuple[int, int], tuple[int, int, int]]:
    """Return the slots in order: (path, m3) -> (l_out, m3, position of the path among those into l_out)."""
    degrees = range(max(path.l_out for path in paths) + 1)
    return {(p, m3): (l, m3, k) for l in degrees for m3 in range(2 * l + 1) for k, p in enumerate(paths_into(paths, l))}


def find_terms(paths: tuple[Path, ...]) -> list[Term]:
    """Return the terms, sorted by path and component."""
    slots, terms = list(find_slots(paths)), []
    for p, path in enumerate(paths):
        cg = clebsch_gordan(path)
        for m1, m3 in np.argwhere(np.abs(cg).max(axis=1) > 1e-10):
            harmonics = np.flatnonzero(np.abs(cg[m1, :, m3]) > 1e-10)
            code = " + ".join(f"np.float32({float(cg[m1, m2, m3])!r}) * sh[e, {path.l_edge**2 + m2}]" for m2 in harmonics)
            terms.append(Term(p, path.l_in**2 + int(m1), slots.index((p, int(m3))), code))
    return terms


def forward_lines(terms: list[tuple[int, Term]]) -> list[str]:
    """Return the lines that add messages of an edge to the total, for channel c of a tile. terms: with their numbers."""
    lines = [f"h{m} = on_atoms[j, ph + {m} * TILE + c]" for m in sorted({term.component for _, term in terms})]
    for p, group in groupby(terms, lambda numbered: numbered[1].path):
        own = list(group)
        components, slots = sorted({term.component for _, term in own}), sorted({term.slot for _, term in own})
        lines.append(f"w{p} = w[k, pw + {p} * TILE + c]")
        if len(components) < len(slots):  # the weight multiplies what is fewer
            lines += [f"x{p}_{m} = w{p} * h{m}" for m in components]
            message = {s: " + ".join(f"a{n} * x{p}_{term.component}" for n, term in own if term.slot == s) for s in slots}
        else:
            sums = {s: " + ".join(f"a{n} * h{term.component}" for n, term in own if term.slot == s) for s in slots}
            message = {s: f"w{p} * ({sums[s]})" for s in slots}
        lines += [f"total[ps + {s} * TILE + c] += {message[s]}" for s in slots]
    return lines


def backward_lines(terms: list[tuple[int, Term]]) -> list[str]:
    """Return the lines that add to the gradients w.r.t. features and weights of an edge, for channel c of a tile."""
    components = sorted({term.component for _, term in terms})
    lines = [f"g{s} = grad[ps + {s} * TILE + c]" for s in sorted({term.slot for _, term in terms})]
    lines += [f"h{m} = on_atoms[j, ph + {m} * TILE + c]" for m in components]
    grad_h: dict[int, list[str]] = {m: [] for m in components}
    for p, group in groupby(terms, lambda numbered: numbered[1].path):
        own, grad_w = list(group), []
        lines.append(f"w{p} = w[k, pw + {p} * TILE + c]")
        for m in sorted({term.component for _, term in own}):
            lines.append(f"q{p}_{m} = " + " + ".join(f"a{n} * g{term.slot}" for n, term in own if term.component == m))
            grad_w.append(f"q{p}_{m} * h{m}")
            grad_h[m].append(f"w{p} * q{p}_{m}")
        lines.append(f"grad_w[k, pw + {p} * TILE + c] += " + " + ".join(grad_w))
    return lines + [f"grad_on_atoms[j, ph + {m} * TILE + c] += " + " + ".join(grad_h[m]) for m in components]


def loops(terms: list[Term], lines_of: LinesOf) -> str:
    """Return loops over the channels of a tile, each with about MAX_TERMS terms, because compilers give up on longer ones."""
    n_before = [sum(other.path < term.path for other in terms) for term in terms]
    chunks = groupby(enumerate(terms), lambda numbered: n_before[numbered[0]] // MAX_TERMS)
    bodies = ("\n".join(lines_of(list(chunk))) for _, chunk in chunks)
    return "\n".join("for c in range(TILE):\n" + indent(body, "    ") for body in bodies)


@lru_cache
def make_kernels(paths: tuple[Path, ...]) -> Kernels:
    """Return the kernels of a set of paths, compiled when they are first called, or read from numba's cache."""
    announce_compilation()
    terms, slots = find_terms(paths), find_slots(paths)
    row = (max(path.l_in for path in paths) + 1) ** 2 * TILE
    sizes = {"row": row, "n_slots": len(slots), "n_paths": len(paths)}
    values = "\n".join(f"a{n} = {term.code}" for n, term in enumerate(terms))

    def compiled(kind: str, template: str, lines_of: LinesOf) -> Callable[..., None]:
        name = f"{kind}_" + "_".join(f"{path.l_in}{path.l_edge}{path.l_out}" for path in paths)
        body = indent(loops(terms, lines_of), " " * 16).lstrip()
        source = template.format(name=name, values=indent(values, " " * 12).lstrip(), loops=body, **sizes)
        scope = dict(globals())
        exec(compile(source, __file__, "exec"), scope)  # as of this file, beside which numba keeps what it compiles
        return jit(scope[name])

    return Kernels(
        compiled("forward", FORWARD, forward_lines),
        compiled("backward", BACKWARD, backward_lines),
        np.array(list(slots.values())),
    )
