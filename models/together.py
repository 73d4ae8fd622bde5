"""Many who ask the same kind of thing at the same time are served by one turn, which begins after they have asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")
R = TypeVar("R")

MOST: Final = 200
"""So many are served by one turn."""


class _Asked(NamedTuple, Generic[A, R]):
    what: A
    answer: asyncio.Future[R]


class Together(Generic[K, A, R]):
    """Answers everybody under one key together; nothing is kept, so nobody hears what was true before they asked.

    Whoever finds fewer than `at_once` turns under way begins one; who comes later waits for the next that begins.
    """

    def __init__(self, serve: Callable[[K, Sequence[A]], Awaitable[Sequence[R]]], *, at_once: int = 1) -> None:
        """`serve` gives the answers to all that is asked under a key, in order; what it raises, all of them are told.

        With more turns `at_once` a slow one holds up fewer.
        """
        self._serve = serve
        self._at_once = at_once
        self._waiting: dict[K, list[_Asked[A, R]]] = {}
        self._turns: dict[K, set[asyncio.Task[None] | None]] = {}

    async def ask(self, key: K, what: A) -> R:
        """The answer."""
        asked: _Asked[A, R] = _Asked(what, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(key, []).append(asked)
        turns = self._turns.setdefault(key, set())
        if len(turns) < self._at_once:
            turns.add(asyncio.create_task(self._take_turns(key, turns)))
        return await asked.answer

    async def _take_turns(self, key: K, turns: set[asyncio.Task[None] | None]) -> None:
        while asked := self._next(key):
            await self._take(key, asked)
        # At once, not when the task is seen to be done: whoever asks in between would wait for nobody.
        turns.discard(asyncio.current_task())
        if not turns:
            del self._turns[key]

    async def _take(self, key: K, asked: Sequence[_Asked[A, R]]) -> None:
        try:
            answers = await self._serve(key, [one.what for one in asked])
            for one, answer in zip(asked, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)
        except Exception as error:  # noqa: BLE001  each of them is told, and deals with it
            for one in asked:
                if not one.answer.done():
                    one.answer.set_exception(error)
        finally:
            for one in asked:
                one.answer.cancel()  # where this turn itself was cancelled; an answer that was given stays

    def _next(self, key: K) -> list[_Asked[A, R]]:
        """Those whose turn it is, without who has given up."""
        asked = [one for one in self._waiting.pop(key, []) if not one.answer.done()]
        if asked[MOST:]:
            self._waiting[key] = asked[MOST:]
        return asked[:MOST]
