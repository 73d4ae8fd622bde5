"""A clinic's day: who comes to which doctor, under which token, and when it will be their turn.

A token is a name to call out, not a place in the queue: it is given when a visit is first shown on a day list, the next
number of that doctor's day, and never changes or comes again, whoever books, moves or cancels afterwards. The queue is
by the plan; whoever comes late goes in behind those who were due when they came, and whoever is not there keeps nobody
waiting. Estimates follow from what has really happened: nobody's is before their plan, and on time it is their plan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple, TypedDict

from models.base import Id, Model, UtcDatetime
from models.booking import AppointmentState, EventType, HistoryEntry, ServiceSnapshot
from models.payments import PaymentState

_S = AppointmentState
SHOWN: Final = frozenset(_S) - {_S.HELD, _S.EXPIRED}
"""What was never certain is nobody's visit."""

WAITING: Final = frozenset({_S.CONFIRMED, _S.CHECKED_IN})
_MINUTE: Final = timedelta(minutes=1)


class Visit(Model):
    """An appointment as a day list needs it: nothing of the patient but who they are."""

    id: Id
    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    subject_id: Id
    service: ServiceSnapshot
    start: UtcDatetime
    end: UtcDatetime
    state: AppointmentState
    payment_state: PaymentState
    version: int
    capacity: int | None = None
    arrived_at: UtcDatetime | None = None
    began_at: UtcDatetime | None = None
    ended_at: UtcDatetime | None = None

    @property
    def before(self) -> timedelta:
        """What lies between the end of the visit before and this one."""
        return timedelta(minutes=self.service.buffer_before_minutes)

    @property
    def length(self) -> timedelta:
        """How long it is planned to take, with what comes after it."""
        return self.end - self.start + timedelta(minutes=self.service.buffer_after_minutes)

    @property
    def session(self) -> tuple[str, datetime] | None:
        """The group session that this is a seat of: its members begin together."""
        return None if self.capacity is None else (self.service.id, self.start)

    def is_missed(self, now: datetime) -> bool:
        """Whether they should have been here by now and are not."""
        return self.state is _S.CONFIRMED and self.start < now


class VisitTimes(TypedDict):
    """When what is known of a visit happened; None: not yet."""

    arrived_at: datetime | None
    began_at: datetime | None
    ended_at: datetime | None


def visit_times(history: Sequence[HistoryEntry]) -> VisitTimes:
    """The last time of each: a visit that was taken for missed may be checked in again."""

    def last(event: EventType) -> datetime | None:
        return next((one.at for one in reversed(history) if one.event is event), None)

    return VisitTimes(
        arrived_at=last(EventType.CHECKED_IN),
        began_at=last(EventType.CONSULTATION_STARTED),
        ended_at=last(EventType.COMPLETED),
    )


# Tokens


def day_key(provider_id: str, day: date) -> str:
    """What a doctor's tokens of one day are kept under; `day` is a date of the clinic's calendar."""
    return f"{provider_id}:{day.isoformat()}"


def without_token(given: Iterable[str], visits: Iterable[Visit]) -> list[str]:
    """The visits that get the next tokens, by the plan: those that are certain and not cancelled before anybody saw."""
    known = set(given)
    new = [one for one in visits if one.id not in known and one.state in SHOWN and one.state is not _S.CANCELLED]
    return [one.id for one in sorted(new, key=_plan)]


def tokens(given: Sequence[str]) -> dict[str, int]:
    """The tokens, from 1, of the visits that were given one, in the order in which they were."""
    return {visit_id: number for number, visit_id in enumerate(given, 1)}


def _plan(visit: Visit) -> tuple[datetime, str]:
    return visit.start, visit.id


# The queue


class Turn(NamedTuple):
    """When somebody who has still to come in will: their place in their doctor's queue, and how late that is."""

    position: int
    estimated_start: datetime
    late_minutes: int


class DoctorsDay(NamedTuple):
    """How a doctor's day goes; `late_minutes` is how far behind the plan they are."""

    provider_id: str
    late_minutes: int
    in_consultation: tuple[int, ...]
    waiting: int
    expected: int


class Entry(NamedTuple):
    """One line of a day list."""

    visit: Visit
    token: int | None
    turn: Turn | None


class DayList(NamedTuple):
    """A clinic's day: the entries by the plan, and each doctor's summary."""

    entries: Sequence[Entry]
    doctors: Sequence[DoctorsDay]


def day_list(visits: Iterable[Visit], given: Mapping[str, int], now: datetime, ends: datetime) -> DayList:
    """The day as it stands at `now`; once it is over, at `ends`, nobody's turn will come any more.

    A cancelled visit is shown only where it had a token: somebody may ask for it.
    """
    shown = [one for one in visits if one.state in SHOWN and (one.state is not _S.CANCELLED or one.id in given)]
    by_doctor: dict[str, list[Visit]] = defaultdict(list)
    for visit in sorted(shown, key=_plan):
        by_doctor[visit.provider_id].append(visit)
    turns: dict[str, Turn] = {}
    doctors = []
    for provider_id, mine in sorted(by_doctor.items()):
        queue = turns_of(mine, now) if now < ends else {}
        turns |= queue
        late = _late(mine, queue, now) if now < ends else 0
        doctors.append(_summary(provider_id, mine, given, late))
    entries = [Entry(one, given.get(one.id), turns.get(one.id)) for one in sorted(shown, key=_plan)]
    return DayList(entries, doctors)


def turns_of(visits: Iterable[Visit], now: datetime) -> dict[str, Turn]:
    """The turns of those who wait for one doctor or are still to come; the estimates are whole minutes."""
    mine = list(visits)
    begun = [one for one in mine if one.state is _S.IN_CONSULTATION]
    free = max((_until(one, now) for one in begun), default=None)
    together = {one.session: now for one in begun if one.session is not None}
    turns: dict[str, Turn] = {}
    waiting = sorted((one for one in mine if one.state in WAITING), key=lambda one: _place(one, now))
    for position, visit in enumerate(waiting, 1):
        start = max(now, visit.start)
        if visit.session in together and visit.session is not None:
            start = max(start, together[visit.session])
        elif free is not None:
            start = max(start, free + visit.before)
        turns[visit.id] = Turn(position, _whole(start), _minutes(start - visit.start))
        if visit.is_missed(now):
            continue
        if visit.session is not None:
            together.setdefault(visit.session, start)
        free = start + visit.length if free is None else max(free, start + visit.length)
    return turns


def _place(visit: Visit, now: datetime) -> tuple[datetime, bool, datetime, str]:
    """Where somebody stands in the queue: the plan, or when they came if that was later, or not before now."""
    missed = visit.is_missed(now)
    due = now if missed else max(visit.start, visit.arrived_at or visit.start)
    return due, missed, visit.start, visit.id


def _until(visit: Visit, now: datetime) -> datetime:
    """When a visit that has begun will be over: no sooner than planned, nor in the past."""
    return max(now, (visit.began_at or visit.start) + visit.length)


def _summary(provider_id: str, visits: Sequence[Visit], given: Mapping[str, int], late: int) -> DoctorsDay:
    inside = sorted(given[one.id] for one in visits if one.state is _S.IN_CONSULTATION and one.id in given)
    return DoctorsDay(
        provider_id=provider_id,
        late_minutes=late,
        in_consultation=tuple(inside),
        waiting=sum(one.state is _S.CHECKED_IN for one in visits),
        expected=sum(one.state is _S.CONFIRMED for one in visits),
    )


def _late(visits: Sequence[Visit], turns: Mapping[str, Turn], now: datetime) -> int:
    """How long the next one waits beyond their plan or their own coming, else how far the one inside is over time."""
    queue = [one for one in visits if one.id in turns and not one.is_missed(now)]
    if queue:
        first = min(queue, key=lambda one: turns[one.id].position)
        due = max(first.start, first.arrived_at or first.start)
        return _minutes(turns[first.id].estimated_start - due)
    begun = [one for one in visits if one.state is _S.IN_CONSULTATION]
    return max((_minutes(_until(one, now) - one.start - one.length) for one in begun), default=0)


def _whole(instant: datetime) -> datetime:
    """The next whole minute, so that an estimate does not tremble."""
    over = timedelta(seconds=instant.second, microseconds=instant.microsecond)
    return instant + (_MINUTE - over) if over else instant


def _minutes(length: timedelta) -> int:
    return max(0, -(-length // _MINUTE))
