"""What a config may hold: bounds, and kinds of values."""

import math
import types
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

MAX_COUNT = 4096  # channels, layers, basis functions: beyond it a typing error is likelier than a network
MAX_STEPS = 1_000_000  # epochs, trees, crystals of a batch
MAX_SEED = 2**31 - 1 - 1_000_000  # folds and members add to it


def require(condition: bool, message: str) -> None:
    """ValueError with the message where the condition does not hold."""
    if not condition:
        raise ValueError(f"config: {message}")


def require_counts(network: Any, *names: str) -> None:
    """ValueError where one of a network's counts is not 1 to MAX_COUNT."""
    for name in names:
        require(1 <= getattr(network, name) <= MAX_COUNT, f"network.{name}={getattr(network, name)}, 1 to {MAX_COUNT}")


def require_widths(network: Any, *names: str) -> None:
    """The same for each of several widths."""
    for name in names:
        widths = getattr(network, name)
        require(all(1 <= width <= MAX_COUNT for width in widths), f"network.{name}={widths}, each 1 to {MAX_COUNT}")


def check_kinds(config: Any) -> None:
    """ValueError where a knob, of the config or of one inside it, is of another kind than its annotation; numbers are finite."""
    hints = get_type_hints(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        kind = str(field.type).replace("typing.", "") if not isinstance(field.type, type) else field.type.__name__
        require(_fits(value, hints[field.name]), f"{type(config).__name__}.{field.name}={value!r}, expected {kind}")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        return any(value == argument and type(value) is type(argument) for argument in arguments)
    if origin is tuple:
        of_one_kind = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = (arguments[0],) * len(value) if of_one_kind and isinstance(value, tuple) else arguments
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, value, kinds))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        return False
    if is_dataclass(value):
        check_kinds(value)
    return True
