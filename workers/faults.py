"""Named fault points: kill or delay this process at a chosen step, once. Only a development profile may ask for it.

A folder holds the armed points, one empty file each: `kill.after.payments.capture` kills the process when that step
has done its work but before anybody knows, `wait.before.booking.book` holds that step up until somebody removes the
file again. A point that has struck is renamed to end in `.struck`, so that it strikes once, in whichever process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

STRUCK: Final = ".struck"
LOOK_SECONDS: Final = 0.02


class Effect(StrEnum):
    """What happens at the point."""

    KILL = "kill"
    WAIT = "wait"


class Moment(StrEnum):
    """When it happens, seen from the step."""

    BEFORE = "before"
    AFTER = "after"


class Faults:
    """The fault points of one folder."""

    def __init__(self, folder: Path) -> None:
        """The folder must exist."""
        self._folder = folder

    async def reached(self, moment: Moment, step: str) -> None:
        """Suffer what is armed for this point, if anything is."""
        if self._strike(Effect.KILL, moment, step):
            os.kill(os.getpid(), signal.SIGKILL)
        if struck := self._strike(Effect.WAIT, moment, step):
            while self._is_there(struck):  # noqa: ASYNC110  another process removes the file
                await asyncio.sleep(LOOK_SECONDS)

    def _strike(self, effect: Effect, moment: Moment, step: str) -> Path | None:
        armed = self._folder / f"{effect}.{moment}.{step}"
        try:
            return armed.rename(armed.with_name(armed.name + STRUCK))
        except FileNotFoundError:
            return None

    def _is_there(self, path: Path) -> bool:
        return path.exists()


class FaultInterceptor(Interceptor):
    """Watches every step of this worker."""

    def __init__(self, faults: Faults) -> None:
        """The points at which something happens."""
        self._faults = faults

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002  the SDK's name
        """Wrap the steps."""
        return _Watched(next, self._faults)


class _Watched(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, faults: Faults) -> None:
        super().__init__(following)
        self._faults = faults

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401  the SDK's signature
        step = getattr(input.fn, "__temporal_activity_definition").name
        await self._faults.reached(Moment.BEFORE, step)
        result = await super().execute_activity(input)
        await self._faults.reached(Moment.AFTER, step)
        return result
