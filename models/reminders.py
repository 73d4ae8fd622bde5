"""When somebody is reminded of a visit, and when that is no longer worth it.

Each lead of the policy is one reminder, due so long (elapsed time) before the visit; quiet hours bring it forward,
never back, to some time of the hour before them, and nothing goes out while it is quiet. What was due already when the
visit was planned is skipped; in its place one reminder goes out at once, unless the visit is near or a confirmation has
just told the same. What is late, since nobody worked when it was due, goes out as long as it is useful: while the visit
is not near and no other reminder is about to follow. While somebody may choose another time, because the doctor is away
at this one, nothing goes out; what is due meanwhile is late then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from models.absence import Offer
from models.base import Id, Model, UtcDatetime, ZoneName
from models.booking import AppointmentState, EventType, HistoryEntry
from models.policy import QuietHours, TenantPolicy
from models.quiet_hours import ahead_of, brought_forward, put_off, quiet_period

NEAR: Final = timedelta(minutes=30)
"""A visit that is not further away needs no reminder that was not planned for then."""

JUST_TOLD: Final = timedelta(hours=1)
"""Who was told of the visit within this time need not be told again at once."""

SOON: Final = timedelta(hours=1)
"""A late reminder is left out where the next one follows within this time."""

ON_TIME: Final = timedelta(minutes=5)
"""Later than this a reminder is late."""

PATIENCE: Final = timedelta(minutes=1)
"""How long a confirmation may take to be on its way before a reminder goes out in its place, or an offer to be settled
after its deadline.
"""

AT_ONCE: Final = 0
"""The lead of the single reminder that stands in for those that were past when the visit was planned."""

PLANNED: Final = frozenset({EventType.CONFIRMED, EventType.RESCHEDULED})
"""The events from which on a visit is planned for its time."""

ENDED: Final = frozenset({EventType.CANCELLED, EventType.EXPIRED, EventType.CHECKED_IN, EventType.NO_SHOW})
"""The events after which nobody is to be reminded."""

_ABOUT_THE_TIME: Final = PLANNED | {EventType.ATTENDANCE_CONFIRMED}
_DEFAULT_QUIET: Final = QuietHours()
_NO_QUIET: Final = QuietHours(start=_DEFAULT_QUIET.start, end=_DEFAULT_QUIET.start)


class Fate(StrEnum):
    """What became of a reminder: that it was told, or why not."""

    TOLD = "told"
    PAST_WHEN_PLANNED = "past_when_planned"
    """It was due already when the visit was booked or moved."""
    JUST_CONFIRMED = "just_confirmed"
    """A confirmation had told the same within the last hour."""
    SUPERSEDED = "superseded"
    """Another one is due by then, or about to be."""
    TOO_LATE = "too_late"
    """The visit was near, or over, when somebody could send it."""
    QUIET_HOURS = "quiet_hours"
    """The visit will be near, or over, when its reader's quiet hours end."""


class Reminder(Model):
    """One reminder of a visit that starts at `start`, so many seconds before it; due at an instant (UTC)."""

    start: UtcDatetime
    lead_seconds: int
    due_at: UtcDatetime

    @property
    def occurrence(self) -> str:
        """What tells it from every other reminder of the same appointment: the visit's start and the lead."""
        return f"{_stamp(self.start)}.{self.lead_seconds}"


class Outcome(Model):
    """What became of one reminder, when that was decided."""

    reminder: Reminder
    fate: Fate
    at: UtcDatetime


class Reader(NamedTuple):
    """Somebody who is reminded: the language they read and the zone they live by."""

    locale: str
    timezone: str


class Visit(Model):
    """A visit as far as its reminders are concerned; `timezone` is the reader's, `id` the appointment's.

    `since` is when it was planned for this start; `confirmed_at` is when somebody was last told so;
    `decided` are the leads of this start whose fate is known; until `choose_until` its reader may choose another time,
    because the doctor is away at this one.
    """

    id: Id
    start: UtcDatetime
    state: AppointmentState
    since: UtcDatetime
    leads: tuple[timedelta, ...]
    quiet_hours: QuietHours
    timezone: ZoneName
    confirmed_at: UtcDatetime | None = None
    decided: frozenset[int] = frozenset()
    choose_until: UtcDatetime | None = None


class Tell(Model):
    """A reminder that is to go out now, and until when that is worth it."""

    reminder: Reminder
    expires_at: UtcDatetime


class Decision(Model):
    """What is skipped, what goes out now, and when to look again; neither of the two: there is nothing more to do."""

    skipped: tuple[Outcome, ...] = ()
    tell: Tell | None = None
    wake_at: UtcDatetime | None = None

    @property
    def is_last(self) -> bool:
        """Whether no reminder is left."""
        return self.tell is None and self.wake_at is None


class Planned(Model):
    """What an appointment says about its reminders: when it was planned for which start, and what was decided since.

    `timezone` is the clinic's.
    """

    id: Id
    subject_id: Id
    state: AppointmentState
    start: UtcDatetime
    since: UtcDatetime
    timezone: ZoneName
    policy: TenantPolicy
    outcomes: tuple[Outcome, ...] = ()

    def visit(self, reader: Reader | None, confirmed_at: datetime | None, offer: Offer | None) -> Visit:
        """The visit for a reader, by the clinic's clock where that is unknown, who was last told and offered this."""
        return Visit(
            id=self.id,
            start=self.start,
            state=self.state,
            since=self.since,
            leads=leads_of(self.policy),
            quiet_hours=quiet_hours_of(self.policy),
            timezone=reader.timezone if reader else self.timezone,
            confirmed_at=confirmed_at,
            decided=frozenset(one.reminder.lead_seconds for one in self.outcomes if one.reminder.start == self.start),
            choose_until=offer.deadline if offer is not None and offer.is_open_at(self.start) else None,
        )


def leads_of(policy: TenantPolicy) -> tuple[timedelta, ...]:
    """The leads, the longest first, each once."""
    if policy.reminder_lead_seconds is not None:
        return _leads(timedelta(seconds=one) for one in policy.reminder_lead_seconds)
    return _leads(timedelta(minutes=one) for one in policy.reminder_leads_minutes)


def _leads(leads: Iterable[timedelta]) -> tuple[timedelta, ...]:
    return tuple(sorted(set(leads), reverse=True))


def quiet_hours_of(policy: TenantPolicy) -> QuietHours:
    """The hours in which nobody is reminded.

    Leads in seconds serve to try things out at any hour: for them the default hours do not count, only others do.
    """
    tried_out = policy.reminder_lead_seconds is not None and policy.quiet_hours == _DEFAULT_QUIET
    return _NO_QUIET if tried_out else policy.quiet_hours


def plan(visit: Visit) -> tuple[Reminder, ...]:
    """Every reminder of the visit in the order in which they are due, the longest lead first."""
    zone, ahead = ZoneInfo(visit.timezone), ahead_of(visit.id)
    planned: list[Reminder] = []
    for lead in sorted(visit.leads, reverse=True):
        due_at = brought_forward(visit.start - lead, visit.quiet_hours, zone, ahead)
        if planned:
            # One that is brought forward would overtake another that is due just before the quiet.
            due_at = max(due_at, planned[-1].due_at)
        planned.append(Reminder(start=visit.start, lead_seconds=int(lead.total_seconds()), due_at=due_at))
    if any(one.due_at <= visit.since for one in planned):
        planned.append(Reminder(start=visit.start, lead_seconds=AT_ONCE, due_at=visit.since))
    return tuple(sorted(planned, key=lambda one: (one.due_at, -one.lead_seconds)))


def decide(visit: Visit, now: datetime) -> Decision:
    """What is to be done now (UTC)."""
    if visit.state is not AppointmentState.CONFIRMED:
        return Decision()
    skipped: list[Outcome] = []
    waiting = [one for one in plan(visit) if one.lead_seconds not in visit.decided]
    for number, reminder in enumerate(waiting):
        following = next((one for one in waiting[number + 1 :] if one.due_at > visit.since), None)
        turn = _turn(visit, reminder, following, now)
        if isinstance(turn, Fate):
            skipped.append(Outcome(reminder=reminder, fate=turn, at=now))
        elif turn > now:
            return Decision(skipped=tuple(skipped), wake_at=turn)
        elif visit.choose_until is not None:
            wake_at = visit.choose_until if visit.choose_until > now else now + PATIENCE
            return Decision(skipped=tuple(skipped), wake_at=wake_at)
        else:
            expires_at = visit.start if following is None else following.due_at
            return Decision(skipped=tuple(skipped), tell=Tell(reminder=reminder, expires_at=expires_at))
    return Decision(skipped=tuple(skipped))


def _turn(visit: Visit, reminder: Reminder, following: Reminder | None, now: datetime) -> Fate | datetime:
    """Why a reminder does not go out, or when it does: an instant that is not later than `now` means now."""
    if reminder.due_at > now:
        return reminder.due_at
    if reminder.lead_seconds == AT_ONCE:
        return _at_once(visit, reminder, following, now)
    if reminder.due_at <= visit.since:
        return Fate.PAST_WHEN_PLANNED
    quiet = quiet_period(now, visit.quiet_hours, ZoneInfo(visit.timezone)) is not None
    if quiet or now - reminder.due_at > ON_TIME:
        return _unplanned(visit, following, now)
    if now >= visit.start:
        return Fate.TOO_LATE
    return Fate.SUPERSEDED if following is not None and following.due_at <= now else now


def _at_once(visit: Visit, reminder: Reminder, following: Reminder | None, now: datetime) -> Fate | datetime:
    turn = _unplanned(visit, following, now)
    if isinstance(turn, Fate):
        return turn
    if visit.confirmed_at is not None and turn - visit.confirmed_at < JUST_TOLD:
        return Fate.JUST_CONFIRMED
    return max(turn, reminder.due_at + PATIENCE)


def _unplanned(visit: Visit, following: Reminder | None, now: datetime) -> Fate | datetime:
    """The same for one that goes out when it was not planned to: never in quiet hours, and only while it is useful."""
    turn = put_off(now, visit.quiet_hours, ZoneInfo(visit.timezone))
    if visit.start - turn <= NEAR:
        return Fate.TOO_LATE if turn == now else Fate.QUIET_HOURS
    if following is not None and following.due_at <= turn + SOON:
        return Fate.SUPERSEDED
    return turn


def is_about(occurrence: str, start: datetime) -> bool:
    """Whether a reminder of that occurrence is one of a visit that starts then."""
    return occurrence.startswith(f"{_stamp(start)}.")


def _stamp(start: datetime) -> str:
    return f"{start:%Y%m%dT%H%M%SZ}"


def is_attending(history: Sequence[HistoryEntry]) -> bool:
    """Whether the patient has said that they come at the time that the visit has now."""
    said = (one.event is EventType.ATTENDANCE_CONFIRMED for one in reversed(history) if one.event in _ABOUT_THE_TIME)
    return next(said, False)
