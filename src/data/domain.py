"""Transforms of the target, and the targets for which a metric or a transform is defined."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_NAMED = 10  # rows in a message


@dataclass(frozen=True)
class Domain:
    """A set of numbers, in words and as a test of each number."""

    text: str
    holds: Callable[[NDArray[np.float64]], NDArray[np.bool_]]

    def check(self, path: Path, ids: Sequence[str], targets: NDArray[np.float64], setting: str) -> None:
        """Raise ValueError, which names the file and the rows, if targets lie outside. setting: what requires the domain."""
        bad = np.flatnonzero(~self.holds(targets))
        if len(bad):
            named = ", ".join(f"{str(ids[i])!r}: {targets[i]:g}" for i in bad[:MAX_NAMED])
            more = f" and {len(bad) - MAX_NAMED} more" if len(bad) > MAX_NAMED else ""
            raise ValueError(
                f"{path}: {setting} requires targets {self.text}, not those of {named}{more}; correct or remove these rows, "
                "or choose another setting"
            )


@dataclass(frozen=True)
class Transform:
    """A monotone function of the target and its inverse.

    smallest: the least number of the domain that can be told from its bound in double precision.
    """

    forward: np.ufunc
    inverse: np.ufunc
    domain: Domain
    smallest: float

    def back(self, transformed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the targets, which are finite and in the domain whatever the argument is."""
        low, high = (self.forward(bound) for bound in (self.smallest, np.finfo(np.float64).max / 2))
        return self.inverse(np.clip(transformed, low, high))


POSITIVE = Domain("above 0", lambda target: target > 0)
ABOVE_MINUS_ONE = Domain("above -1", lambda target: target > -1)
NONZERO = Domain("other than 0", lambda target: target != 0)
TRANSFORMS = {
    "log": Transform(np.log, np.exp, POSITIVE, float(np.finfo(np.float64).tiny)),
    "log1p": Transform(np.log1p, np.expm1, ABOVE_MINUS_ONE, float(np.nextafter(-1, 0))),
}
