"""What comes of a long command, told as soon as it is known: whatever fails later does not take it along."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str], None]


def _unheard(words: str) -> None:
    """Nobody listens; what was said is kept all the same."""
    del words


class Outcome:
    """Sentences for a person, and among them those that name what must not be."""

    def __init__(self, say: Tell = _unheard) -> None:
        """`say` hears each sentence at once."""
        self._say = say
        self.lines: list[str] = []
        self.faults: list[str] = []

    def tell(self, *lines: str) -> None:
        """What was done, or is left to do."""
        for one in lines:
            self.lines.append(one)
            self._say(one)

    def blame(self, *faults: str) -> None:
        """What is not as it was."""
        for one in faults:
            self.faults.append(one)
            self._say(f"not as it was: {one}")
