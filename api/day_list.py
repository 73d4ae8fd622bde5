"""A clinic's day for whoever works there: read together, its patients' names opened a page at a time."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import structlog
from fastapi.sse import ServerSentEvent

from adapters.redis.feed import FeedListener
from api.edge import failure
from api.presenter import COMING
from api.problems import invalid
from api.schemas.day_list import DayEntry, DayView, DoctorView, PatientName
from api.streams import LIFETIME_SECONDS, LOOK_SECONDS, POLL_SECONDS, Check, admit_again
from models.booking import Intake
from models.cursor import decode_cursor, encode_cursor
from models.day_list import Entry, Visit, day_list, tokens, without_token
from models.day_list_ports import DayQuery, DoctorsTokens, Names, Tokens, Visits
from models.errors import Code, UnavailableError, VisitNowError, not_found
from models.identity import OwnProvider, Permission, Principal, Role, Scope, System, scope_of
from models.ports import Directory
from models.providers import Clinic
from models.wallclock import midnight

PROFILES: Final = System("a day list names its doctors")
SETTLE_SECONDS: Final = 0.2
"""Changes that come together are told together."""

_log = structlog.get_logger(__name__)
Looked = Callable[[Sequence[Visit]], Awaitable[None]]
"""Notes in the audit whose names are about to be shown."""


class Asked(NamedTuple):
    """A day that somebody may see, and which part of it."""

    caller: Principal
    clinic: Clinic
    provider_id: str | None
    day: date
    limit: int
    cursor: str | None

    @property
    def scope(self) -> Scope:
        """Whose visits they may see."""
        return scope_of(self.caller)


class DayLists:
    """Shows days and follows them."""

    def __init__(
        self,
        visits: Visits,
        tokens: Tokens,
        names: Names,
        directory: Directory,
        listener: FeedListener,
        check: Check,
    ) -> None:
        """Where visits, their numbers and names are; who wakes those who watch, and whether a session still goes on."""
        self._check = check
        self._visits = visits
        self._tokens = tokens
        self._names = names
        self._directory = directory
        self._listener = listener

    async def asked(
        self,
        caller: Principal,
        clinic_id: str,
        provider_id: str | None,
        day: date | None,
        limit: int,
        cursor: str | None,
    ) -> Asked:
        """Check that the caller may see it; without a date it is today's, by the clinic's clock.

        A doctor sees their own patients only. Raises `not_found`, and `invalid` for a day outside the calendar.
        """
        scope = scope_of(caller)
        clinic = (await self._directory.clinics(scope, [clinic_id])).get(clinic_id)
        if clinic is None or clinic.tenant_id != caller.tenant_id:
            raise not_found()
        if isinstance(scope, OwnProvider):
            if provider_id not in {None, scope.provider_id}:
                raise not_found()
            provider_id = scope.provider_id
        elif Role.ADMIN not in caller.roles and clinic_id not in caller.clinic_ids:
            raise not_found()
        if provider_id is not None:
            profile = (await self._directory.profiles(scope, [provider_id])).get(provider_id)
            if profile is None or profile.clinic_id != clinic_id:
                raise not_found()
        wanted = day or datetime.now(ZoneInfo(clinic.timezone)).date()
        if not date.min < wanted < date.max - timedelta(days=1):
            raise invalid("date", "date_out_of_range", "outside the calendar")
        return Asked(caller, clinic, provider_id, wanted, limit, cursor)

    async def day(self, asked: Asked, looked: Looked) -> DayView:
        """The day as it stands, one page of it; `looked` is told of the visits on it before a name is opened.

        Raises `cursor_invalid` for a foreign cursor.
        """
        zone = ZoneInfo(asked.clinic.timezone)
        start, end = midnight(asked.day, zone), midnight(asked.day + timedelta(days=1), zone)
        query = DayQuery(asked.clinic.tenant_id, asked.clinic.id, asked.provider_id, start, end)
        visits = await self._visits.of_day(asked.scope, query)
        now = datetime.now(UTC)
        found = day_list(visits, await self._numbered(asked, visits), now, end)
        entries, following = _page(found.entries, asked)
        await looked([one.visit for one in entries])
        profiles = await self._directory.profiles(PROFILES, [one.provider_id for one in found.doctors])
        return DayView(
            clinic_id=asked.clinic.id,
            date=asked.day,
            timezone=asked.clinic.timezone,
            providers=[DoctorView.of(one, profiles[one.provider_id].name) for one in found.doctors],
            items=await self._named(asked.scope, entries),
            next_cursor=following,
            server_time=now,
        )

    async def _numbered(self, asked: Asked, visits: Sequence[Visit]) -> dict[str, int]:
        """The tokens of the day, those included that are given now: whoever is shown has one from then on."""
        providers = sorted({one.provider_id for one in visits})
        given = await self._tokens.of_day(asked.scope, asked.clinic.id, providers, asked.day)
        numbers: dict[str, int] = {}
        for provider_id in providers:
            order = given.get(provider_id, [])
            new = without_token(order, (one for one in visits if one.provider_id == provider_id))
            if new:
                whose = DoctorsTokens(asked.clinic.tenant_id, asked.clinic.id, provider_id, asked.day)
                order = await self._tokens.give(asked.scope, whose, new)
            numbers |= tokens(order)
        return numbers

    async def _named(self, scope: Scope, entries: Sequence[Entry]) -> list[DayEntry]:
        intakes = await self._visits.intakes(scope, [one.visit.id for one in entries])
        names = await self._names.names(COMING, [one.visit.subject_id for one in entries])
        return [
            DayEntry.of(one, PatientName.of(intakes.get(one.visit.id, Intake()), names.get(one.visit.subject_id)))
            for one in entries
        ]

    async def follow(self, asked: Asked, looked: Looked, known: str | None) -> AsyncIterator[ServerSentEvent]:
        """The day now, unless it is the known one, and whenever it has changed or somebody's turn has moved.

        Whoever would be let in no more is told nothing more.
        """
        ends = time.monotonic() + LIFETIME_SECONDS
        with self._listener.watch(asked.clinic.id) as watch:
            while time.monotonic() < ends:
                try:
                    view = await self._read(asked, looked)
                except VisitNowError:
                    return
                if view is not None and (version := _version(view)) != known:
                    known = version
                    yield ServerSentEvent(raw_data=view.model_dump_json(), event="day", id=version)
                await watch.wait(LOOK_SECONDS if self._listener.connected else POLL_SECONDS)
                await asyncio.sleep(SETTLE_SECONDS)

    async def _read(self, asked: Asked, looked: Looked) -> DayView | None:
        """None while the database does not answer: the stream outlives a failover. Raises what `admit_again` does."""
        try:
            await admit_again(self._check, asked.caller, Permission.DAY_READ)
            return await self.day(asked, looked)
        except UnavailableError as error:
            _log.warning("stream.paused", **failure(error))
            return None


def _page(entries: Sequence[Entry], asked: Asked) -> tuple[Sequence[Entry], str | None]:
    rest = list(entries)
    if asked.cursor is not None:
        try:
            last = decode_cursor(asked.cursor, datetime, str)
        except ValueError as error:
            raise VisitNowError(Code.CURSOR_INVALID) from error
        rest = [one for one in rest if (one.visit.start, one.visit.id) > last]
    page = rest[: asked.limit]
    more = len(rest) > asked.limit
    return page, encode_cursor(page[-1].visit.start, page[-1].visit.id) if more else None


def _version(view: DayView) -> str:
    """What tells one state of the day from another, whichever process shows it."""
    return hashlib.sha256(view.model_dump_json(exclude={"server_time"}).encode()).hexdigest()[:16]
