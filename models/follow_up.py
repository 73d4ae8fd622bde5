"""What follows a completed visit and when: its summary, the question how it was, and the way back to the doctor.

Everything is decided anew from how things stand. The summary is part of the visit and always goes out; to ask how it
was and to remind of the next one needs that the patient has not objected, which counts at the moment of sending.
Nothing of that reaches anybody in their quiet hours, by the clock on their own wall.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from models.base import Id, Model, UtcDatetime, ZoneName
from models.booking import AppointmentState
from models.messaging import Template
from models.policy import QuietHours, TenantPolicy
from models.quiet_hours import put_off
from models.wallclock import epoch_seconds, midnight

SUMMARY_WINDOW: Final = timedelta(days=14)
"""How long after the visit its summary is waited for; one that is written later still goes out when it is."""

LOOK_AGAIN: Final = timedelta(days=1)
"""So often the summary is looked for, should nobody have said that it was written."""

LONGEST_SLEEP: Final = timedelta(days=30)
"""People move and rules change: whatever is due later is looked at again so often."""

WORTH: Final = timedelta(days=7)
"""What is later than this, since nobody worked when it was due, is not asked any more."""

MORNING: Final = "09:00"
"""When somebody is reminded of a visit that their doctor wants the day after, on their own wall."""

MOST_AHEAD: Final = timedelta(days=2 * 366)
"""A follow-up date that is further away is a slip of the pen."""

_DAY: Final = timedelta(days=1)
_DEFAULT_QUIET: Final = QuietHours()
_NO_QUIET: Final = QuietHours(start=_DEFAULT_QUIET.start, end=_DEFAULT_QUIET.start)


class Part(StrEnum):
    """What a follow-up is made of; each but the way back is done at most once."""

    SUMMARY = "summary"
    FEEDBACK = "feedback"
    FEEDBACK_AGAIN = "feedback_again"
    REVISIT = "revisit"
    LOW_RATING = "low_rating"


TEMPLATES: Final = {
    Part.SUMMARY: Template.VISIT_SUMMARY,
    Part.FEEDBACK: Template.FEEDBACK_REQUEST,
    Part.FEEDBACK_AGAIN: Template.FEEDBACK_REMINDER,
    Part.REVISIT: Template.REVISIT_REMINDER,
}
"""The words of each part that is told to the patient."""


class Fate(StrEnum):
    """What became of a part: that it was told, or why not."""

    TOLD = "told"
    RAISED = "raised"
    """The practice has a task."""
    REVIEWED = "reviewed"
    """They had said how it was before anybody asked."""
    NO_CONSENT = "no_consent"
    """They do not want to be asked."""
    BOOKED = "booked"
    """They have a later visit with the doctor already."""
    JUST_TOLD = "just_told"
    """It was due by the time the doctor wrote the date down."""
    TOO_FAR = "too_far"
    """No doctor means a date like that."""
    TOO_LATE = "too_late"
    """It was worth nothing any more when somebody could send it."""


class Outcome(Model):
    """What became of a part, when that was decided; `key` tells the way back by one date from that by another."""

    part: Part
    key: Id
    fate: Fate
    at: UtcDatetime


class Tell(Model):
    """A part that is to go out now, and until when that is worth it."""

    part: Part
    key: Id
    expires_at: UtcDatetime


class Wake(Model):
    """When to look again, and what will be due then."""

    event: str
    at: UtcDatetime


class Decision(Model):
    """What goes out now, whether the practice gets a task, and when to look again; nothing of that: it is over."""

    tells: tuple[Tell, ...] = ()
    raises: bool = False
    skipped: tuple[Outcome, ...] = ()
    wake: Wake | None = None


class Completed(Model):
    """What a completed visit says about its follow-up; `timezone` is the clinic's."""

    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    practitioner_id: Id
    appointment_id: Id
    subject_id: Id
    start: UtcDatetime
    completed_at: UtcDatetime
    timezone: ZoneName
    policy: TenantPolicy
    outcomes: tuple[Outcome, ...] = ()
    dependant_id: Id | None = None
    """For whom it was, if that is somebody whom the account books for."""


class Written(Model):
    """The newest version of the summary, as far as it matters here."""

    version: int
    at: UtcDatetime
    follow_up_on: date | None = None


class Course(Model):
    """How a follow-up stands, for a reader in `timezone`."""

    completed_at: UtcDatetime
    policy: TenantPolicy
    timezone: ZoneName
    outcomes: tuple[Outcome, ...] = ()
    written: Written | None = None
    reviewed: bool = False
    low: bool = False
    """Whether the rating is a reason to get in touch."""
    allowed: bool = True
    """Whether they may be asked and reminded."""
    booked: bool = False
    """Whether they have a later visit with the same doctor."""

    def fate(self, key: str) -> Outcome | None:
        """What became of a part, if that is decided."""
        return next((one for one in self.outcomes if one.key == key), None)


_Turn = Tell | Fate | Wake | None
"""It goes out, it does not (and why), it is looked at again, or there is nothing (more) to it."""


def follows(state: AppointmentState) -> bool:
    """Whether a visit in that state is followed up."""
    return state is AppointmentState.COMPLETED


def feedback_after(policy: TenantPolicy) -> timedelta:
    """How long after the visit somebody is asked how it was."""
    if policy.feedback_after_seconds is not None:
        return timedelta(seconds=policy.feedback_after_seconds)
    return timedelta(minutes=policy.feedback_after_minutes)


def quiet_hours_of(policy: TenantPolicy) -> QuietHours:
    """The hours in which nobody is asked or reminded.

    Delays in seconds serve to try things out at any hour: for them the default hours do not count, only others do.
    """
    tried_out = policy.feedback_after_seconds is not None or policy.revisit_after_seconds is not None
    return _NO_QUIET if tried_out and policy.quiet_hours == _DEFAULT_QUIET else policy.quiet_hours


def decide(course: Course, now: datetime) -> Decision:
    """What is to be done now (UTC)."""
    tells: list[Tell] = []
    skipped: list[Outcome] = []
    wakes: list[Wake] = []
    for part, key, turn in _turns(course, now):
        match turn:
            case Tell():
                tells.append(turn)
            case Fate():
                skipped.append(Outcome(part=part, key=key, fate=turn, at=now))
            case Wake():
                wakes.append(turn)
    raises = course.low and course.fate(Part.LOW_RATING) is None
    return Decision(tells=tuple(tells), raises=raises, skipped=tuple(skipped), wake=_first(wakes, now))


def _turns(course: Course, now: datetime) -> Iterable[tuple[Part, str, _Turn]]:
    yield Part.SUMMARY, Part.SUMMARY, _summary(course, now)
    yield Part.FEEDBACK, Part.FEEDBACK, _feedback(course, now)
    yield Part.FEEDBACK_AGAIN, Part.FEEDBACK_AGAIN, _feedback_again(course, now)
    yield Part.REVISIT, _revisit_key(course), _revisit(course, now)


def _first(wakes: Iterable[Wake], now: datetime) -> Wake | None:
    first = min(wakes, key=lambda one: one.at, default=None)
    if first is None or first.at - now <= LONGEST_SLEEP:
        return first
    return Wake(event=first.event, at=now + LONGEST_SLEEP)


def _summary(course: Course, now: datetime) -> _Turn:
    if course.fate(Part.SUMMARY) is not None:
        return None
    if course.written is not None:
        return Tell(part=Part.SUMMARY, key=Part.SUMMARY, expires_at=now + WORTH)
    end = course.completed_at + SUMMARY_WINDOW
    return Wake(event="the summary", at=min(end, now + LOOK_AGAIN)) if now < end else None


def _feedback(course: Course, now: datetime) -> _Turn:
    due = course.completed_at + feedback_after(course.policy)
    return _asked(course, Part.FEEDBACK, due, now)


def _feedback_again(course: Course, now: datetime) -> _Turn:
    """Only whoever was asked and has not answered is asked once more."""
    asked = course.fate(Part.FEEDBACK)
    if asked is None or asked.fate is not Fate.TOLD:
        return None
    due = asked.at + timedelta(hours=course.policy.feedback_reminder_hours)
    return _asked(course, Part.FEEDBACK_AGAIN, due, now)


def _asked(course: Course, part: Part, due: datetime, now: datetime) -> _Turn:
    if course.fate(part) is not None:
        return None
    if course.reviewed:
        return Fate.REVIEWED
    if not course.allowed:
        return Fate.NO_CONSENT
    if now - due > WORTH:
        return Fate.TOO_LATE
    turn = _in_peace(course, max(due, now))
    return Tell(part=part, key=part, expires_at=now + WORTH) if turn <= now else Wake(event=_WAITS[part], at=turn)


def _revisit_key(course: Course) -> str:
    """Another version of the summary may name another date, and nobody can tell which from this."""
    return Part.REVISIT if course.written is None else f"{Part.REVISIT}.v{course.written.version}"


def _revisit(course: Course, now: datetime) -> _Turn:
    written, key = course.written, _revisit_key(course)
    if written is None or written.follow_up_on is None or course.fate(key) is not None:
        return None
    if not course.allowed:
        return Fate.NO_CONSENT
    ahead = written.follow_up_on - written.at.date()
    if not -_DAY <= ahead <= MOST_AHEAD:
        return Fate.JUST_TOLD if ahead < _DAY else Fate.TOO_FAR
    due, over = _revisit_times(course, written, written.follow_up_on)
    if due <= written.at or now >= over:
        return Fate.JUST_TOLD if due <= written.at else Fate.TOO_LATE
    turn = _in_peace(course, max(due, now))
    if turn > now:
        return Wake(event=_WAITS[Part.REVISIT], at=turn)
    return Fate.BOOKED if course.booked else Tell(part=Part.REVISIT, key=key, expires_at=over)


def _revisit_times(course: Course, written: Written, day: date) -> tuple[datetime, datetime]:
    """When somebody is reminded of a follow-up date, and until when that is worth it."""
    if course.policy.revisit_after_seconds is not None:
        due = written.at + timedelta(seconds=course.policy.revisit_after_seconds)
        return due, due + _DAY
    zone = ZoneInfo(course.timezone)
    due = datetime.fromtimestamp(epoch_seconds(day - _DAY, MORNING, zone), tz=UTC)
    return due, midnight(day + _DAY, zone)


def _in_peace(course: Course, instant: datetime) -> datetime:
    return put_off(instant, quiet_hours_of(course.policy), ZoneInfo(course.timezone))


_WAITS: Final = {
    Part.FEEDBACK: "the question how it was",
    Part.FEEDBACK_AGAIN: "the answer how it was",
    Part.REVISIT: "the follow-up date",
}
"""What is awaited until a part goes out, as operators read it."""
