"""What each kind of notice needs: consent, a state of the appointment in which it is true, and its variables.

A new kind is a member of `models.messaging.Template`, a line in `KINDS` and its words in `adapters/texts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from models import follow_up, reminders
from models.booking import Appointment, AppointmentState
from models.consents import Purpose
from models.identity import Account
from models.messaging import Template
from models.notices import Notice, Skip, is_again
from models.policy import PromotionalHours, QuietHours, TenantPolicy
from models.quiet_hours import put_off

INDIA: Final = "Asia/Kolkata"
INDIAN: Final = "+91"

_S = AppointmentState
_AHEAD: Final = frozenset({_S.CONFIRMED, _S.CHECKED_IN})
_OVER: Final = frozenset({_S.COMPLETED})
_ANY: Final = frozenset(AppointmentState)

WHO: Final = ("name", "clinic", "doctor", "registration", "service", "reference")
VISIT: Final = (*WHO, "when", "address")
_ASKING: Final = (*VISIT, "unsubscribe_link")


class NoticeKind(NamedTuple):
    """The rules of one template."""

    variables: tuple[str, ...]
    """Names of `models.notice_facts.VARIABLES` that its words may use."""
    states: frozenset[AppointmentState] = _ANY
    """In any other it is not true any more."""
    ahead: bool = False
    """Whether it is worth nothing once the visit has begun."""
    calendar: bool = False
    """Whether an e-mail brings the visit for the reader's calendar, or takes it out of it."""
    purpose: Purpose = Purpose.CARE
    """What its reader must not have objected to, or must have agreed to."""

    @property
    def is_promotional(self) -> bool:
        """Whether it was not asked for, and so has hours of its own."""
        return self.purpose is Purpose.PROMOTION


KINDS: Mapping[Template, NoticeKind] = {
    Template.APPOINTMENT_CONFIRMED: NoticeKind((*VISIT, "attend_link"), _AHEAD, ahead=True, calendar=True),
    Template.APPOINTMENT_RESCHEDULED: NoticeKind((*VISIT, "attend_link"), _AHEAD, ahead=True, calendar=True),
    Template.APPOINTMENT_REMINDER: NoticeKind((*VISIT, "attend_link"), frozenset({_S.CONFIRMED}), ahead=True),
    Template.APPOINTMENT_CANCELLED: NoticeKind(
        (*VISIT, "book_link", "refunded"), frozenset({_S.CANCELLED}), calendar=True
    ),
    Template.ABSENCE_OFFER: NoticeKind((*VISIT, "choose_link", "choose_until"), frozenset({_S.CONFIRMED}), ahead=True),
    Template.ABSENCE_OVER: NoticeKind((*VISIT, "attend_link"), frozenset({_S.CONFIRMED}), ahead=True),
    Template.APPOINTMENT_EXPIRED: NoticeKind((*VISIT, "book_link", "voided"), frozenset({_S.EXPIRED})),
    Template.APPOINTMENT_MISSED: NoticeKind((*VISIT, "book_link"), frozenset({_S.NO_SHOW})),
    Template.PAYMENT_LATE: NoticeKind((*VISIT, "book_link", "voided")),
    Template.REFUND_PROCESSED: NoticeKind((*VISIT, "refund_amount")),
    Template.VISIT_SUMMARY: NoticeKind((*VISIT, "summary_link"), _OVER),
    Template.FEEDBACK_REQUEST: NoticeKind((*_ASKING, "review_link"), _OVER, purpose=Purpose.FOLLOW_UP),
    Template.FEEDBACK_REMINDER: NoticeKind((*_ASKING, "review_link"), _OVER, purpose=Purpose.FOLLOW_UP),
    Template.REVISIT_REMINDER: NoticeKind((*_ASKING, "book_link"), _OVER, purpose=Purpose.FOLLOW_UP),
}
"""Every template that can be told of an appointment."""


def not_before(kind: NoticeKind, recipient: Account, hours: PromotionalHours, now: datetime) -> datetime | None:
    """When it may be told at the earliest, None for now: offers keep to their hours, everything else knows none.

    The hours are those of the reader's clock; an Indian number's are India's, wherever its holder is.
    """
    if not kind.is_promotional:
        return None
    indian = (recipient.phone or "").startswith(INDIAN)
    zone = ZoneInfo(INDIA if indian else recipient.timezone)
    allowed = put_off(now, QuietHours(start=hours.end, end=hours.start), zone)
    return allowed if allowed > now else None


_PEACE: Final[Mapping[Template, Callable[[TenantPolicy], QuietHours]]] = {
    Template.APPOINTMENT_REMINDER: reminders.quiet_hours_of,
    Template.FEEDBACK_REQUEST: follow_up.quiet_hours_of,
    Template.FEEDBACK_REMINDER: follow_up.quiet_hours_of,
    Template.REVISIT_REMINDER: follow_up.quiet_hours_of,
}
"""What leaves people in peace, and in which hours."""


def quiet_until(notice: Notice, appointment: Appointment, timezone: str, now: datetime) -> datetime | None:
    """When it may be told again to somebody who lives by that clock, None for now.

    What somebody asked to be told once more comes when they ask.
    """
    hours_of = _PEACE.get(notice.template)
    if hours_of is None or is_again(notice):
        return None
    allowed = put_off(now, hours_of(appointment.policy), ZoneInfo(timezone))
    return allowed if allowed > now else None


def obsolete(
    notice: Notice, appointment: Appointment, now: datetime, *, worded_for: datetime | None = None
) -> Skip | None:
    """Why it is not worth telling at `now`, in words that name `worded_for` as the visit's start; None where it is."""
    kind = KINDS[notice.template]
    if notice.expires_at <= now or (kind.ahead and appointment.start <= now):
        return Skip.EXPIRED
    if appointment.state not in kind.states:
        return Skip.SUPERSEDED
    # The visit was moved since: the new time is told in words of its own, and has reminders of its own.
    if kind.ahead and worded_for is not None and worded_for != appointment.start:
        return Skip.SUPERSEDED
    reminds = notice.template is Template.APPOINTMENT_REMINDER
    return Skip.SUPERSEDED if reminds and not reminders.is_about(notice.occurrence, appointment.start) else None
