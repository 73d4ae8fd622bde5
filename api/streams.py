"""Streams of an appointment's events: woken by the feed, and by their own slow look where the feed is away."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from fastapi.sse import ServerSentEvent

from adapters.redis.feed import FeedListener
from api.edge import failure
from api.metrics import Metrics
from api.presenter import Presenter
from models.booking import FINAL_STATES, Appointment, AppointmentState
from models.errors import Code, UnavailableError, VisitNowError
from models.identity import Permission, Principal, scope_of
from models.payments import PaymentState
from models.ports import Appointments

MAX_STREAMS: Final = 10
"""Open streams of one person: tabs and devices, not a load test."""

POLL_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 15.0
"""While the feed stands, a stream still looks by itself now and then: a word may be lost."""

LIFETIME_SECONDS: Final = 1800.0
"""Then the client comes again and shows that it still may."""

SETTLE_SECONDS: Final = 4.0
"""How long a browser that has just paid waits for the outcome before it is told how far things are."""

_UNSETTLED: Final = frozenset({PaymentState.PENDING, PaymentState.AUTHORIZED})
_log = structlog.get_logger(__name__)
Check = Callable[[Principal], Awaitable[Principal]]
"""What every request asks of its session. Raises `token_invalid` and `UnavailableError`."""


async def admit_again(check: Check, viewer: Principal, needed: Permission) -> None:
    """Refuse who would be let in no more: a stream outlives the request that opened it, but not the session.

    Raises `token_invalid`, `forbidden` and `UnavailableError`.
    """
    if needed not in (await check(viewer)).permissions:
        raise VisitNowError(Code.FORBIDDEN)


class Streams:
    """Follows appointments for those who watch them."""

    def __init__(
        self, appointments: Appointments, presenter: Presenter, listener: FeedListener, metrics: Metrics, check: Check
    ) -> None:
        """Where appointments are read, how they are shown, who wakes us and whether a session still goes on."""
        self._check = check
        self._appointments = appointments
        self._presenter = presenter
        self._listener = listener
        self._metrics = metrics
        self._open: dict[str, int] = {}

    @contextmanager
    def place(self, subject: str) -> Iterator[None]:
        """One of a person's streams, while it is open. Raises `rate_limited` where they have too many."""
        if self._open.get(subject, 0) >= MAX_STREAMS:
            raise VisitNowError(Code.RATE_LIMITED, "Too many open streams", retry_after=int(LOOK_SECONDS))
        self._open[subject] = self._open.get(subject, 0) + 1
        self._metrics.streams.inc()
        try:
            yield
        finally:
            self._metrics.streams.dec()
            self._open[subject] -= 1
            if self._open[subject] == 0:
                del self._open[subject]

    async def follow(
        self, appointment_id: str, viewer: Principal, known_version: int
    ) -> AsyncIterator[ServerSentEvent]:
        """The appointment now, unless its version is known, and on each change until a final state.

        Whoever would be let in no more is told nothing more.
        """
        ends = time.monotonic() + LIFETIME_SECONDS
        with self._listener.watch(appointment_id) as watch:
            while time.monotonic() < ends:
                try:
                    appointment = await self._read(appointment_id, viewer)
                except VisitNowError:
                    return
                if appointment is not None and appointment.version > known_version:
                    known_version = appointment.version
                    view = await self._presenter.one(appointment, viewer)
                    yield ServerSentEvent(raw_data=view.model_dump_json(), event="appointment", id=str(known_version))
                if appointment is not None and appointment.state in FINAL_STATES:
                    return
                await watch.wait(LOOK_SECONDS if self._listener.connected else POLL_SECONDS)

    async def _read(self, appointment_id: str, viewer: Principal) -> Appointment | None:
        """None while the database does not answer: the stream outlives a failover. Raises what `admit_again` does."""
        try:
            await admit_again(self._check, viewer, Permission.APPOINTMENT_READ)
            return await self._appointments.find(scope_of(viewer), appointment_id)
        except UnavailableError as error:
            _log.warning("stream.paused", **failure(error))
            return None

    async def settled(self, appointment: Appointment, viewer: Principal) -> Appointment:
        """The appointment once its payment has come to something, or as it is after `SETTLE_SECONDS`."""
        ends = time.monotonic() + SETTLE_SECONDS
        with self._listener.watch(appointment.id) as watch:
            while not _is_settled(appointment) and (left := ends - time.monotonic()) > 0:
                await watch.wait(min(left, 0.25))
                found = await self._appointments.find(scope_of(viewer), appointment.id)
                appointment = found or appointment
        return appointment


def _is_settled(appointment: Appointment) -> bool:
    over = appointment.state is not AppointmentState.HELD
    return over and appointment.payment_state not in _UNSETTLED
