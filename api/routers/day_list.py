"""A clinic's day: the queue with its tokens and estimates, once and as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Header, Path, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from adapters.redis.tickets import TICKET_LIFETIME, Ticket
from api.day_list import Asked
from api.guards import GUARD_CODES, MayReadDay, MayWatchDay
from api.paging import MAX_LIMIT, Paging
from api.problems import problem_responses
from api.routing import Router
from api.schemas.booking import TicketView
from api.schemas.day_list import DayView
from api.schemas.values import Date
from api.services import Services, Wired
from models.base import Id
from models.day_list import Visit
from models.errors import Code
from models.identity import Principal

_EVENTS: Final = "text/event-stream"


class _WatchedByAccept(Router):
    """Whoever accepts an event stream where the day is, gets the day's stream."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request to the day or below it."""
        path = scope["path"]
        if path.endswith("/day") and scope["method"] == "GET" and _EVENTS in Headers(scope=scope).get("accept", ""):
            scope["path"] = f"{path}/events"
        await super().handle(scope, receive, send)


router = _WatchedByAccept(prefix="/v1/clinics/{clinic_id}/day", tags=["front desk"])

ClinicId = Annotated[str, Path(max_length=100)]
SSE_ENTRIES: Final = MAX_LIMIT
_WHICH_DAY: Final = "By the clinic's clock; absent: today."
_WHOSE: Final = "Absent: all of the clinic's doctors; a doctor sees their own visits only."


class DayFilters(Paging):
    """Which day, and of whom."""

    limit: int = Field(default=MAX_LIMIT, ge=1, le=MAX_LIMIT, description="Visits per page.")
    date: Date | None = Field(default=None, description=_WHICH_DAY)
    provider_id: Id | None = Field(default=None, description=_WHOSE)


class _Looks:
    """Notes each visit that was shown once, however often its stream shows it again."""

    def __init__(self, request: Request, services: Services, reader: Principal) -> None:
        self._request = request
        self._services = services
        self._reader = reader
        self._seen: set[str] = set()

    async def __call__(self, visits: Sequence[Visit]) -> None:
        new = [one for one in visits if one.id not in self._seen]
        await self._services.audit.reads(self._request, self._reader, new)
        self._seen.update(one.id for one in new)


@router.get("", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND, Code.CURSOR_INVALID))
async def day(
    request: Request, clinic_id: ClinicId, caller: MayReadDay, services: Wired, wanted: Annotated[DayFilters, Query()]
) -> DayView:
    """Everybody's visits of a day by their planned start, with tokens and estimates; a doctor sees their own.

    With `Accept: text/event-stream` it is what `/events` below it gives.
    """
    asked = await services.day_lists.asked(
        caller, clinic_id, wanted.provider_id, wanted.date, wanted.limit, wanted.cursor
    )
    return await services.day_lists.day(asked, _Looks(request, services, caller))


@router.post("/events-ticket", status_code=201, responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def day_ticket(clinic_id: ClinicId, caller: MayReadDay, services: Wired) -> TicketView:
    """A ticket for one stream of this clinic's, good once within 60 seconds."""
    await services.day_lists.asked(caller, clinic_id, None, None, 1, None)
    expires_at = datetime.now(UTC) + TICKET_LIFETIME
    ticket = await services.tickets.issue(Ticket(principal=caller, target_id=clinic_id))
    return TicketView(ticket=ticket, expires_at=expires_at)


async def _watched(
    clinic_id: ClinicId,
    viewer: MayWatchDay,
    services: Wired,
    date: Annotated[Date | None, Query(description=_WHICH_DAY)] = None,
    provider_id: Annotated[Id | None, Query(description=_WHOSE)] = None,
) -> AsyncIterator[Asked]:
    """The day that is watched, while it is: whatever can be refused is refused before the stream begins."""
    with services.streams.place(viewer.subject):
        yield await services.day_lists.asked(viewer, clinic_id, provider_id, date, SSE_ENTRIES, None)


@router.get(
    "/events",
    response_class=EventSourceResponse,
    responses=problem_responses(*GUARD_CODES, Code.TICKET_INVALID, Code.NOT_FOUND, Code.RATE_LIMITED),
)
async def day_events(
    request: Request,
    asked: Annotated[Asked, Depends(_watched)],
    services: Wired,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", description="The last one seen.")] = None,
) -> AsyncIterable[ServerSentEvent]:
    """`event: day` with the first 100 visits, now and on each change; without a date it stays with today's."""
    async for event in services.day_lists.follow(asked, _Looks(request, services, asked.caller), last_event_id):
        yield event
