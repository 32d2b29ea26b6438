"""What all configs share: the decorator, the types of common knobs, and errors in one line."""

import functools
import re
from dataclasses import asdict, fields
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

Seed = Annotated[int, Field(ge=0, le=2**31 - 1 - 1_000_000)]  # folds and members add to it
Steps = Annotated[int, Field(ge=1, le=1_000_000)]  # epochs, trees, crystals of a batch
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]

TYPES: dict[str, type] = {}  # name of a config class in JSON -> the class
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_SETTINGS = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
C = TypeVar("C")


@dataclass_transform(frozen_default=True)
def config_class(cls: type[C]) -> type[C]:
    """Make a class a frozen dataclass that checks its knobs; a fault is a ValueError of one line."""
    checked: Any = dataclass(frozen=True, config=_SETTINGS)(cls)
    construct = checked.__init__

    @functools.wraps(construct)
    def construct_or_explain(self: Any, /, *args: Any, **knobs: Any) -> None:
        try:
            construct(self, *args, **knobs)
        except ValidationError as error:
            raise ValueError(f"config: {_in_one_line(cls, error)}") from None

    checked.__init__ = construct_or_explain
    TYPES[cls.__name__] = checked
    return checked


def _in_one_line(cls: type, error: ValidationError) -> str:
    """Describe each fault by its knob, value and range, for instance `TrainingConfig.lr=-1.0: must be above 0`."""
    faults: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False):  # a union of classes has one for each
        where, what = _describe(cls, fault)
        faults.setdefault(where, []).append(what)
    text = "; ".join(f"{where}: {' or '.join(what)}" for where, what in faults.items())
    return text.replace(" or must be an instance of", " or")


def _describe(cls: type, fault: Any) -> tuple[str, str]:
    """Return the knob with its value, and what is wrong with it."""
    if fault["type"] == "value_error":  # of a __post_init__: a rule between knobs
        where, _, what = str(fault["ctx"]["error"]).partition(": ")
        return f"{cls.__name__}.{where}", what
    first, *rest = fault["loc"]
    name = dict(enumerate(field.name for field in fields(cls))).get(first, first)  # a positional argument has its number only
    element = "".join(f"[{i}]" for i in rest if isinstance(i, int))
    value = "" if fault["type"] == "missing" else f"={fault['input']!r:.100}"
    what = re.sub("^(Input|Tuple) should", "must", fault["msg"]).replace(" after validation", "")
    bounds = _bounds(cls.__annotations__.get(name))
    if fault["type"] == "finite_number":
        what = f"{what} {bounds}"
    elif not _BOUNDS.keys().isdisjoint(fault.get("ctx", {})):
        what = f"must be {bounds}"
    return f"{cls.__name__}.{name}{element}{value}", what[0].lower() + what[1:]


def _bounds(hint: Any) -> str:
    """Return the bounds of an annotation, or of a tuple's elements, in words."""
    limits = [limit for bound in FieldInfo.from_annotation(hint).metadata for limit in asdict(bound).items()]
    words = " and ".join(f"{_BOUNDS[name]} {limit}" for name, limit in limits if name in _BOUNDS)
    return words or (_bounds(get_args(hint)[0]) if get_args(hint) else "")
