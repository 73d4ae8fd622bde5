"""Ctrl-C and a polite kill end a command in order: first what it started, then itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequestedError(KeyboardInterrupt):
    """Somebody asked this process to end. An event loop lets this kind of exception through at once."""


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    # Once is enough: a second Ctrl-C must not interrupt the clearing up.
    ignore_signals()
    raise StopRequestedError


def ignore_signals() -> None:
    """From now on nothing asks this process to end; for the time in which it clears up."""
    for one in ENDING:
        signal.signal(one, signal.SIG_IGN)


@contextmanager
def stoppable() -> Iterator[None]:
    """Within the block, the first signal to end raises `StopRequestedError`, and the block ends quietly with it."""
    before = {one: signal.signal(one, _stop) for one in ENDING}
    try:
        yield
    except StopRequestedError:
        pass
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
