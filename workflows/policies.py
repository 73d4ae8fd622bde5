"""Queues, time-outs and retry policies, each named for its meaning; and the local-first step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError

BOOKING_QUEUE = "booking"
GATEWAY_QUEUE = "gateway"
NOTIFY_QUEUE = "notify"
BULK_QUEUE = "bulk"

TASK_TIMEOUT = timedelta(seconds=3)
"""A worker that dies in a local step is noticed after this long; the default of 10 s would keep a patient waiting."""

LOCAL_TIMEOUT = timedelta(seconds=2.5)
"""A person waits for the step: after this it goes to its queue and the person gets an interim answer."""


RPC_TIMEOUT = timedelta(seconds=10)
"""How long the API waits for the workflow service before it says that it does not know."""


HEARTBEAT = timedelta(seconds=60)
"""A long step that is silent for longer is taken for dead and run again."""


@dataclass(frozen=True)
class StepPolicy:
    """Where a step runs when it does not succeed locally, how long one try may take and how it is tried again."""

    queue: str
    timeout: timedelta
    retry: RetryPolicy
    heartbeat: timedelta | None = None
    """A step that says every now and then that it is alive, and is silent for longer, is run again."""


STORE = StepPolicy(
    BOOKING_QUEUE,
    timedelta(seconds=10),
    # Our own database comes back; until then nothing else makes sense, so there is no last try.
    RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=10)),
)
GATEWAY_READ = StepPolicy(
    GATEWAY_QUEUE,
    timedelta(seconds=15),
    # Nothing is released or given back before the gateway has answered, however long that takes.
    RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30)),
)
GATEWAY_WRITE = StepPolicy(
    GATEWAY_QUEUE,
    timedelta(seconds=15),
    # Orders, captures and refunds carry keys of their own, so repeating one never pays twice.
    RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(minutes=1)),
)
REFUND_TRY = StepPolicy(
    GATEWAY_QUEUE,
    timedelta(seconds=15),
    # A few quick tries; after them the refund is shown as unknown and looked at again later.
    RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_attempts=4),
)
DELIVERY = StepPolicy(
    NOTIFY_QUEUE,
    timedelta(seconds=15),
    # Whoever carries messages comes back; each message says itself how long it is worth trying.
    RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)),
)
NOTE = StepPolicy(
    NOTIFY_QUEUE,
    timedelta(seconds=10),
    # Our own database, as above, for those who work for messages.
    RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=10)),
)
FAN_OUT = StepPolicy(
    BULK_QUEUE,
    timedelta(minutes=1),
    # People wait for what it tells and gives back: it goes on until all of them are served.
    RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30)),
    # Twice what one of those whom a page is about may take.
    heartbeat=timedelta(seconds=20),
)
FORGET = StepPolicy(
    BULK_QUEUE,
    timedelta(seconds=15),
    # Our own database and the workflow service come back; until then nobody is half forgotten for good.
    RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30)),
)
ERASE = StepPolicy(
    BULK_QUEUE,
    timedelta(minutes=10),
    # What somebody is promised to be rid of is tried for until it is gone, however long a store is away.
    RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)),
)
SWEEP = StepPolicy(
    BULK_QUEUE,
    timedelta(minutes=5),
    # The next run of the schedule does what this one could not.
    RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=3),
)
COLLECT = StepPolicy(
    BULK_QUEUE,
    timedelta(hours=6),
    # It goes on where it was left, until it is whole: the clock of the request calls a person meanwhile.
    RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)),
)
_ONCE = RetryPolicy(maximum_attempts=1)

A = TypeVar("A")
R = TypeVar("R")
# The first argument of an activity method is its instance, which the workflow never has: no narrower type fits.
Step = Callable[[Any, A], Awaitable[R]]


async def regular(step: Step[A, R], arg: A, policy: StepPolicy, summary: str, *, within: timedelta | None = None) -> R:
    """Run a step on its queue under its full retry policy, with all its tries at most as long as `within`."""
    return await workflow.execute_activity_method(
        step,
        arg,
        task_queue=policy.queue,
        schedule_to_close_timeout=within,
        start_to_close_timeout=policy.timeout,
        heartbeat_timeout=policy.heartbeat,
        retry_policy=policy.retry,
        summary=summary,
    )


async def heartbeating(step: Step[A, R], arg: A, policy: StepPolicy, summary: str) -> R:
    """Run a long step that says every now and then that it is alive."""
    return await workflow.execute_activity_method(
        step,
        arg,
        task_queue=policy.queue,
        start_to_close_timeout=policy.timeout,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=policy.retry,
        summary=summary,
    )


async def local(step: Step[A, R], arg: A, summary: str) -> R:
    """Try a step once within the worker.

    Raises `FailureError`, and nothing narrower may be caught: what ran out of time is wrapped in an `ActivityError`
    when it happens and comes bare when the workflow is replayed (see also `is_cancelled` and `is_refusal`).
    """
    return await workflow.execute_local_activity_method(
        step,
        arg,
        schedule_to_close_timeout=LOCAL_TIMEOUT,
        start_to_close_timeout=LOCAL_TIMEOUT,
        retry_policy=_ONCE,
        summary=summary,
    )


async def local_first(
    step: Step[A, R], arg: A, policy: StepPolicy, summary: str, *, within: timedelta | None = None
) -> R:
    """Run a step within the worker, which costs one event instead of three; if that fails, on its queue.

    Raises what the outside refused for good; everything else is tried again.
    """
    try:
        return await local(step, arg, summary)
    except FailureError as error:
        if is_cancelled(error) or is_refusal(error):
            raise
    return await regular(step, arg, policy, summary, within=within)


async def until(condition: Callable[[], bool], instant: datetime, summary: str) -> None:
    """Wait for a condition, at most until an instant (UTC); the caller looks again at everything after it."""
    left = instant - workflow.now()
    if left <= timedelta() or condition():
        return
    with suppress(TimeoutError):
        await workflow.wait_condition(condition, timeout=left, timeout_summary=summary)


def is_cancelled(error: BaseException) -> bool:
    """Whether the workflow itself is being cancelled."""
    return isinstance(error, CancelledError) or isinstance(error.__cause__, CancelledError)


def is_refusal(error: BaseException) -> bool:
    """Whether the outside has refused for good. A local step raises the failure itself, a regular one wraps it."""
    failure = error.__cause__ if isinstance(error, ActivityError) else error
    return isinstance(failure, ApplicationError) and failure.non_retryable
