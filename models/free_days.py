"""Which of the next days have free times: what a search is answered from, and what placing never trusts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from models.availability import Busy, first_slots
from models.providers import Offering, VisitMode
from models.search import SEARCHED_DAYS, FreeDay


def searched_span(offering: Offering, now: datetime) -> tuple[date, date]:
    """The first and the last date that a search knows of, in the clinic's zone."""
    today = now.astimezone(ZoneInfo(offering.clinic.timezone)).date()
    return today, today + timedelta(days=min(SEARCHED_DAYS - 1, offering.horizon_days))


def free_days(offering: Offering, busy: Sequence[Busy], now: datetime) -> list[FreeDay]:
    """The days with a free time of some service, ascending; `busy` reaches a day beyond the span on either side."""
    zone = ZoneInfo(offering.clinic.timezone)
    first, last = searched_span(offering, now)
    found: dict[date, tuple[datetime, set[VisitMode]]] = {}
    for service in offering.provider.services:
        firsts = first_slots(
            offering.availability,
            service.timing,
            zone,
            first,
            last,
            now=now,
            busy=[*offering.absences, *busy],
            min_notice_minutes=offering.min_notice_minutes,
            horizon_days=offering.horizon_days,
        )
        for day, start in firsts.items():
            earliest, modes = found.setdefault(day, (start, set()))
            modes.add(service.mode)
            found[day] = (min(earliest, start), modes)
    return [FreeDay(day, earliest, tuple(sorted(modes))) for day, (earliest, modes) in sorted(found.items())]
