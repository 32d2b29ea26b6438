"""All mutants of a source file, by its syntax: comparisons, constants, indices, axes, signs, arguments, statements left out.

Not mutated are texts, messages, annotations and decorators, nor UNSEEN: what is strict, and what decides about time alone.
"""

import ast
import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mutants import run

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = {"min": "max", "any": "all", "argmin": "argmax", "minimum": "maximum", "floor": "ceil", "mean": "sum", "amin": "amax"}
NAMES |= {"sin": "cos"} | {new: old for old, new in NAMES.items()}
SYMMETRIC = ("min", "max", "minimum", "maximum", "isinstance", "getattr", "hasattr", "gcd")
SYMMETRIC += ("array_equal", "allclose", "spearmanr")
AXES = ("axis", "dim")
UNSEEN = re.compile(r"strict|n_jobs|worth_workers|delay|mininterval|[A-Z_]+_(PER_TASK|AT_ONCE)")  # arguments and constants
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


def is_unseen(node: ast.AST) -> bool:
    """Return whether an argument or an assignment is of UNSEEN alone."""
    match node:
        case ast.keyword(arg=str(name)):
            return bool(UNSEEN.fullmatch(name))
        case ast.Assign(targets=targets) | ast.AnnAssign(target=targets):
            within = [x for target in (targets if isinstance(targets, list) else [targets]) for x in ast.walk(target)]
            return all(UNSEEN.fullmatch(x.id) for x in within if isinstance(x, ast.Name))
    return False


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
                if gone.arg not in (None, "dtype", "encoding") and not is_unseen(gone) and not is_text(gone.value):
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
    named = zip(node.args[::-1], node.defaults[::-1], strict=False) if isinstance(node, ast.arguments) else ()
    unseen = [default for argument, default in named if UNSEEN.fullmatch(argument.arg)]
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "format_spec"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
                continue
            if is_unseen(child) or child in unseen:
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
