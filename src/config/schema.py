"""What all configs share: the decorator, the types of common knobs, errors in one line, and JSON."""

import functools
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

Seed = Annotated[int, Field(ge=0, le=2**31 - 1 - 1_000_000)]  # folds and members add to it
Steps = Annotated[int, Field(ge=1, le=1_000_000)]  # epochs, trees, crystals of a batch
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]

RETIRED = "if an older version wrote it, its code is in the history: git worktree add ../older 330aafe"
TYPES: dict[str, type] = {}  # name of a config class in JSON -> the class
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
    """Describe each fault by its knob, its value and pydantic's words: `TrainingConfig.lr=-1.0: input should be ...`."""
    faults: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False):  # a union of classes has one for each
        where, what = _describe(cls, fault)
        faults.setdefault(where, []).append(what)
    return "; ".join(f"{where}: {' or '.join(what)}" for where, what in faults.items())


def _describe(cls: type, fault: Any) -> tuple[str, str]:
    """Return the knob with its value, and what is wrong with it."""
    if fault["type"] == "value_error":  # of a __post_init__: a rule between knobs
        where, _, what = str(fault["ctx"]["error"]).partition(": ")
        return f"{cls.__name__}.{where}", what
    first, *rest = fault["loc"]
    name = dict(enumerate(field.name for field in fields(cls))).get(first, first)  # a positional argument has its number only
    element = "".join(f"[{i}]" for i in rest if isinstance(i, int))
    value = "" if fault["type"] == "missing" else f"={fault['input']!r:.100}"
    return f"{cls.__name__}.{name}{element}{value}", fault["msg"][0].lower() + fault["msg"][1:]


def to_dict(config: Any) -> Any:
    """Return the config as JSON-serialisable values: a dataclass as an object with the name of its class, a tuple as a list."""
    if is_dataclass(config):
        return {"type": type(config).__name__, **{f.name: to_dict(getattr(config, f.name)) for f in fields(config)}}
    return [to_dict(value) for value in config] if isinstance(config, tuple) else config


def from_dict(data: Any) -> Any:
    """Return the config that `to_dict` stored.

    Raises ValueError if a value is of the wrong type or out of range, or if a class or a knob is unknown: a run of another
    version of the code, which can be compared but neither resumed nor loaded.
    """
    if isinstance(data, list):
        return tuple(from_dict(value) for value in data)
    if not isinstance(data, dict):
        return data
    cls: Any = TYPES.get(str(data.get("type")))
    if cls is None:
        raise ValueError(f"config: unknown type {data.get('type')!r}; {RETIRED}")
    knobs = {name: value for name, value in data.items() if name != "type"}
    if unknown := sorted(knobs.keys() - {field.name for field in fields(cls)}):
        raise ValueError(f"config: {cls.__name__} has no knob {', '.join(unknown)}; {RETIRED}")
    return cls(**{name: from_dict(value) for name, value in knobs.items()})
