"""Fault switches: what the next calls of an operation will suffer."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

from starlette.requests import Request

Service = Literal["razorpay", "twilio", "smtp"]
Operation = Literal[
    "order.create",
    "order.fetch",
    "order.payments",
    "payment.fetch",
    "payment.capture",
    "refund.create",
    "refund.fetch",
    "settlement.recon",
    "message.create",
    "message.fetch",
    "message.list",
    "message.update",
    "send",
]
FaultMode = Literal["error", "timeout", "timeout_after_success", "slow", "malformed", "rate_limited"]

OPERATIONS: tuple[Operation, ...] = get_args(Operation)
HOLD_SECONDS = 30.0
SLOW_SECONDS = 2.0


def service_of(operation: Operation) -> Service:
    """Say which service has this operation."""
    if operation == "send":
        return "smtp"
    return "twilio" if operation.startswith("message.") else "razorpay"


@dataclass(slots=True)
class Fault:
    """One armed fault: it hits the next `remaining` calls of its operation.

    - error, rate_limited: refused with `status` (500, 429), nothing done.
    - timeout: nothing done, the connection is held for `delay_seconds`, then 504 or `status`.
    - timeout_after_success: done, but the answer is held back as long.
    - slow: done and answered after `delay_seconds`, whether or not the caller still waits.
    - malformed: done, but the answer breaks off; with a `status`, a proxy's HTML page instead and nothing done.

    A mail server words it in its own way: 451 and 450 where nothing else is said, and held connections are cut.
    """

    operation: Operation
    mode: FaultMode
    status: int | None
    delay_seconds: float
    remaining: int


class Faults:
    """The armed faults of each operation, in the order in which they were armed."""

    def __init__(self) -> None:
        """Start with nothing armed."""
        self._armed: dict[Operation, deque[Fault]] = {}

    def arm(self, fault: Fault) -> None:
        """Let a fault hit the operation's next calls, after those armed before it."""
        self._armed.setdefault(fault.operation, deque()).append(fault)

    def take(self, operation: Operation) -> Fault | None:
        """Give the fault that this call suffers, if any, and count it."""
        queue = self._armed.get(operation)
        if not queue:
            return None
        fault = queue[0]
        fault.remaining -= 1
        if fault.remaining == 0:
            queue.popleft()
        return fault

    def armed(self) -> list[Fault]:
        """List what is still to come."""
        return [fault for queue in self._armed.values() for fault in queue]

    def clear(self) -> None:
        """Disarm everything."""
        self._armed.clear()


class Holds:
    """Keeps callers waiting, until their time is over, they have gone, or everything is let go."""

    def __init__(self) -> None:
        """Start ready to hold."""
        self._released = asyncio.Event()
        self._closed = False
        self.held = 0

    async def hold(self, request: Request, seconds: float) -> None:
        """Wait at most so many seconds; the request's body must have been read."""
        if self._closed:
            return
        waits = [
            asyncio.ensure_future(_gone(request)),
            asyncio.ensure_future(self._released.wait()),
        ]
        self.held += 1
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.held -= 1
            for wait in waits:
                wait.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait so many seconds whether or not the caller has gone, unless everything is let go."""
        if self._closed:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._released.wait(), seconds)

    def release(self) -> None:
        """Let everybody go who is held now."""
        self._released.set()
        self._released = asyncio.Event()

    def close(self) -> None:
        """Let everybody go and hold nobody any more."""
        self._closed = True
        self.release()


async def _gone(request: Request) -> bool:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return True
