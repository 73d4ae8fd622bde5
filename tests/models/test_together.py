"""Who asks at the same time is served by one turn, which began after they had asked."""

import asyncio
from collections.abc import Sequence

import pytest

from models.together import MOST, Together


class Desk:
    """Doubles numbers, once it is let go."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.open = asyncio.Event()

    async def serve(self, key: str, asked: Sequence[int]) -> list[int]:
        del key
        self.turns.append(list(asked))
        await self.open.wait()
        return [2 * one for one in asked]


async def _begun(together: Together[str, int, int], *numbers: int, key: str = "a") -> list[asyncio.Task[int]]:
    asking = [asyncio.create_task(together.ask(key, number)) for number in numbers]
    for _ in range(3):
        await asyncio.sleep(0)
    return asking


async def test_who_comes_during_a_turn_is_served_by_the_next_one_together() -> None:
    desk = Desk()
    together = Together(desk.serve)
    asking = [*await _begun(together, 1), *await _begun(together, 2, 3), *await _begun(together, 4)]
    desk.open.set()
    assert await asyncio.gather(*asking) == [2, 4, 6, 8]
    assert desk.turns == [[1], [2, 3, 4]]
    assert await together.ask("a", 5) == 10
    assert desk.turns[-1] == [5], "nothing is kept"


async def test_keys_have_nothing_to_do_with_each_other() -> None:
    desk = Desk()
    together = Together(desk.serve)
    asking = [*await _begun(together, 1), *await _begun(together, 2, key="b")]
    assert desk.turns == [[1], [2]]
    desk.open.set()
    assert await asyncio.gather(*asking) == [2, 4]


async def test_a_slow_turn_holds_nobody_up_where_there_may_be_two() -> None:
    desk = Desk()
    together = Together(desk.serve, at_once=2)
    asking = [*await _begun(together, 1), *await _begun(together, 2), *await _begun(together, 3, 4)]
    assert desk.turns == [[1], [2]]
    desk.open.set()
    assert await asyncio.gather(*asking) == [2, 4, 6, 8]
    assert desk.turns == [[1], [2], [3, 4]]


async def test_a_failure_is_told_to_all_whom_it_concerns_and_to_nobody_else() -> None:
    async def serve(key: str, asked: Sequence[int]) -> list[int]:
        del key
        await asyncio.sleep(0)
        if 2 in asked:
            raise LookupError
        return list(asked)

    together = Together(serve)
    asking = [*await _begun(together, 1), *await _begun(together, 2, 3)]
    first, *others = await asyncio.gather(*asking, return_exceptions=True)
    assert first == 1
    assert [type(one) for one in others] == [LookupError, LookupError]
    assert await together.ask("a", 4) == 4


async def test_who_gives_up_is_not_served_and_takes_nobody_along() -> None:
    desk = Desk()
    together = Together(desk.serve)
    first, second, third = [*await _begun(together, 1), *await _begun(together, 2, 3)]
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    desk.open.set()
    assert await third == 6
    assert desk.turns == [[1], [3]]


async def test_a_crowd_is_served_in_several_turns() -> None:
    desk = Desk()
    desk.open.set()
    together = Together(desk.serve)
    numbers = range(2 * MOST + 1)
    assert await asyncio.gather(*(together.ask("a", number) for number in numbers)) == [2 * one for one in numbers]
    assert [len(turn) for turn in desk.turns] == [MOST, MOST, 1]


async def test_who_asks_as_soon_as_a_turn_is_over_is_served() -> None:
    """However many steps of the event loop lie between the answer and the question."""
    desk = Desk()
    desk.open.set()
    together = Together(desk.serve)
    for steps in range(6):
        assert await together.ask("a", steps) == 2 * steps
        for _ in range(steps):
            await asyncio.sleep(0)


async def test_too_few_answers_are_a_failure_for_all() -> None:
    async def serve(key: str, asked: Sequence[int]) -> list[int]:
        del key, asked
        return []

    with pytest.raises(ValueError, match="shorter"):
        await Together(serve).ask("a", 1)
