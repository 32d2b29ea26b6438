"""One bad file of the corpus."""

from collections.abc import Callable
from dataclasses import dataclass

from place import Place


@dataclass(frozen=True)
class Bad:
    """A bad file, and what must be said of it.

    kind: what is bad. name: in a few words. damage: puts it there. words: what the message must hold: the file, the row where
    there is one, the remedy.
    command: what meets it. outcome: `refused` with one message and outputs as they were, or `accepted`, or for what can be
    made again `remade`, with a warning that holds the words and the same numbers as before.
    """

    kind: str
    name: str
    damage: Callable[[Place], object]
    words: tuple[str, ...]
    command: Callable[[Place], None] = Place.train
    outcome: str = "refused"

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}".replace(" ", "-")
