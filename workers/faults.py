"""Named fault points: kill this process at a chosen step, once. Only a development profile may ask for it."""

from __future__ import annotations

import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor


class Moment(StrEnum):
    """When the process dies, seen from the step."""

    BEFORE = "before"
    AFTER = "after"


class FaultPoint(NamedTuple):
    """`after:payments.capture`: die when that step has done its work but before anybody knows."""

    moment: Moment
    step: str
    marker: Path

    @classmethod
    def parse(cls, text: str, marker: Path) -> FaultPoint:
        """Read `moment:step`; the marker file remembers that the point was passed. Raises `ValueError`."""
        moment, _, step = text.partition(":")
        if not step:
            msg = "a fault point reads moment:step"
            raise ValueError(msg)
        return cls(Moment(moment), step, marker)

    def reached(self, moment: Moment, step: str) -> None:
        """Die here, if this is the point and the first time."""
        if (moment, step) != (self.moment, self.step):
            return
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


class FaultInterceptor(Interceptor):
    """Watches every step of this worker."""

    def __init__(self, point: FaultPoint) -> None:
        """The one point at which to die."""
        self._point = point

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002  the SDK's name
        """Wrap the steps."""
        return _Watched(next, self._point)


class _Watched(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, point: FaultPoint) -> None:
        super().__init__(following)
        self._point = point

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401  the SDK's signature
        step = getattr(input.fn, "__temporal_activity_definition").name
        self._point.reached(Moment.BEFORE, step)
        result = await super().execute_activity(input)
        self._point.reached(Moment.AFTER, step)
        return result
