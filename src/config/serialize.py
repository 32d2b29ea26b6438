"""Configs to and from JSON."""

from dataclasses import fields, is_dataclass
from typing import Any

from src.config.schema import TYPES

RETIRED = "if an older version wrote it, its code is in the history: git worktree add ../older 330aafe"


def to_dict(config: Any) -> Any:
    """Return the config as JSON-serialisable values: a dataclass as an object with the name of its class, a tuple as a list."""
    if is_dataclass(config):
        return {"type": type(config).__name__, **{f.name: to_dict(getattr(config, f.name)) for f in fields(config)}}
    return [to_dict(value) for value in config] if isinstance(config, tuple) else config


def from_dict(data: Any) -> Any:
    """Return the config that `to_dict` stored.

    Raises ValueError if a class or a knob is unknown, or if a value is of the wrong type or out of range.
    """
    if isinstance(data, list):
        return tuple(from_dict(value) for value in data)
    if not isinstance(data, dict):
        return data
    cls = TYPES.get(str(data.get("type")))
    if cls is None:
        raise ValueError(f"config: unknown type {data.get('type')!r}; {RETIRED}")
    if gone := set(data) - {"type", *(f.name for f in fields(cls))}:
        raise ValueError(f"config: {cls.__name__} has no knob {', '.join(sorted(gone))}; {RETIRED}")
    return cls(**{name: from_dict(value) for name, value in data.items() if name != "type"})
