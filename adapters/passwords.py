"""Passwords: argon2id in a few threads of low priority, so that whoever signs in does not hold up everybody else."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from typing import Final, Protocol, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

T = TypeVar("T")

MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1
"""OWASP's least for argon2id: 19 MiB, two passes, one lane; about 30 ms."""

_NICE: Final = 10


class Hasher(Protocol):
    """What makes hashes and compares with them; both block."""

    def hash(self, password: str) -> str:
        """A hash with its salt and parameters."""
        ...

    def verify(self, stored: str, password: str) -> bool:
        """Whether the hash is this password's."""
        ...


class Argon2:
    """Implements `Hasher`."""

    def __init__(self) -> None:
        """With the parameters above."""
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)

    def hash(self, password: str) -> str:
        """A hash in the usual form, `$argon2id$…`."""
        return self._hasher.hash(password)

    def verify(self, stored: str, password: str) -> bool:
        """Whether the hash is this password's; one that is no hash is nobody's."""
        try:
            return self._hasher.verify(stored, password)
        except (VerifyMismatchError, InvalidHashError):
            return False


def default_slots() -> int:
    """How many hashes are made at once: one core is left to everything else."""
    return max(1, (os.cpu_count() or 1) - 1)


class Passwords:
    """Hashes and compares off the event loop, a few at a time."""

    def __init__(self, hasher: Hasher | None = None, slots: int | None = None) -> None:
        """`slots` is how many may work at once; the others wait for their turn."""
        self._hasher = hasher or Argon2()
        count = slots or default_slots()
        self._turns = asyncio.Semaphore(count)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="passwords", initializer=_step_back)
        self._nobodys = cache(lambda: self._hasher.hash(os.urandom(16).hex()))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Whoever is within may compare: what they find out is counted before the next one's turn comes."""
        async with self._turns:
            yield

    async def hash(self, password: str) -> str:
        """A new hash; waits for its turn."""
        async with self._turns:
            return await self._in_thread(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is right, within a turn; where there is nothing to compare with, it takes as long."""

        def compare() -> bool:
            return self._hasher.verify(stored if stored is not None else self._nobodys(), password)

        return await self._in_thread(compare) and stored is not None

    async def prepare(self) -> None:
        """Make what an unknown user is compared with, so that not even the first one is told apart."""
        await self._in_thread(self._nobodys)

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _step_back() -> None:
    """Let this thread wait for everybody else's; only Linux gives threads a priority of their own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


@cache
def _leaked() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415  half a second that only a new password costs

    return frozenset(FREQUENCY_LISTS["passwords"])


def has_leaked(password: str) -> bool:
    """Whether it is among the 30,000 passwords that were lost most often."""
    return password.casefold() in _leaked()
