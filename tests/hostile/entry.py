"""One bad file of the corpus."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from place import Place

Outcome = Literal["refused", "accepted", "rebuilt"]


@dataclass(frozen=True)
class Bad:
    """A bad file and what the program must say about it.

    kind: what is bad. name: in a few words. damage: writes the bad file. words: parts of the message: the file, the row if
    there is one, the remedy. command: what reads the file.
    outcome: `refused` with one message and outputs as they were; `accepted`; or, for what can be built again, `rebuilt` with
    a warning that holds the words, and the same numbers as before.
    """

    kind: str
    name: str
    damage: Callable[[Place], object]
    words: tuple[str, ...]
    command: Callable[[Place], None] = Place.train
    outcome: Outcome = "refused"

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}".replace(" ", "-")
