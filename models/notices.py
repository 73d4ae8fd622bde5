"""What a person is told about an appointment: which thing, to whom, and how long it is worth telling."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from models.base import Id, Model, UtcDatetime
from models.booking import Event, EventType
from models.ids import notice_id
from models.messaging import Channel, MessageState, Template

_OCCURRENCE: Final = 80


class Notice(Model):
    """One thing to tell one person about one appointment: ids only, the words are found when it is sent.

    `occurrence` tells this time from another of the same kind: the id of an event, or the start of the visit as it was
    then. The same appointment, occurrence, template and recipient are told once, whatever channels are tried.
    """

    tenant_id: Id
    appointment_id: Id
    recipient_id: Id
    template: Template
    occurrence: Id
    expires_at: UtcDatetime
    """After this instant it is worth nothing and is not sent any more."""

    @property
    def id(self) -> str:
        """The business key of everything that is sent for it."""
        return notice_id(self.appointment_id, self.occurrence, self.template, self.recipient_id)


def again(notice: Notice, key: str, expires_at: UtcDatetime) -> Notice:
    """The same thing told once more, once per key; what it is about can still be read from its occurrence."""
    mark = hashlib.sha256(f"{notice.occurrence}\n{key}".encode()).hexdigest()[:12]
    occurrence = f"{notice.occurrence.partition('..')[0][:_OCCURRENCE]}..{mark}"
    return notice.model_copy(update={"occurrence": occurrence, "expires_at": expires_at})


def is_again(notice: Notice) -> bool:
    """Whether somebody asked for it to be told once more."""
    return ".." in notice.occurrence


class NoticeState(StrEnum):
    """What became of a notice."""

    PLANNED = "planned"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    SKIPPED = "skipped"


class Skip(StrEnum):
    """Why somebody was not told."""

    EXPIRED = "expired"
    """It was worth nothing any more."""
    SUPERSEDED = "superseded"
    """What it says was not so any more."""
    NO_CONSENT = "no_consent"
    NO_CHANNEL = "no_channel"
    """No address, or none that may be written to."""
    GONE = "gone"
    """The appointment or the person was erased."""


class Ending(Model):
    """How the telling ended; `reason` is one of ours (`Skip`) or the last carrier's code."""

    state: NoticeState
    reason: str | None = None


OUTCOMES: Mapping[MessageState, NoticeState] = {
    MessageState.DELIVERED: NoticeState.DELIVERED,
    MessageState.SENT: NoticeState.SENT,
}
"""What a try's state makes of its notice; every other one is a failure."""


class NoticeRecord(Model):
    """A notice as it is kept."""

    notice: Notice
    state: NoticeState
    reason: str | None = None
    created_at: UtcDatetime
    updated_at: UtcDatetime


class Plan(Model):
    """How a notice is told: by which channels, one after the other, or why not at all."""

    channels: tuple[Channel, ...] = ()
    receipt_seconds: int = 0
    """How long a channel is waited for before the next one is tried."""
    not_before: UtcDatetime | None = None
    """What is not asked for is told in its hours only."""
    skip: Skip | None = None
    ended: Ending | None = None
    """How its telling has ended already; whoever told it may have died before they could say so."""


# What is told of which event


class _Told(NamedTuple):
    template: Template
    worth: timedelta


_DAY: Final = timedelta(days=1)

TOLD: Mapping[EventType, _Told] = {
    EventType.CONFIRMED: _Told(Template.APPOINTMENT_CONFIRMED, _DAY),
    EventType.RESCHEDULED: _Told(Template.APPOINTMENT_RESCHEDULED, _DAY),
    EventType.CANCELLED: _Told(Template.APPOINTMENT_CANCELLED, 2 * _DAY),
    EventType.EXPIRED: _Told(Template.APPOINTMENT_EXPIRED, timedelta(hours=6)),
    EventType.NO_SHOW: _Told(Template.APPOINTMENT_MISSED, timedelta(hours=12)),
    EventType.PAYMENT_LATE: _Told(Template.PAYMENT_LATE, 3 * _DAY),
    EventType.PAYMENT_VOIDED: _Told(Template.PAYMENT_LATE, 3 * _DAY),
    EventType.REFUND_PROCESSED: _Told(Template.REFUND_PROCESSED, 7 * _DAY),
}
"""What the patient is told when something happens, and for how long that is news."""


def notices_of(event: Event) -> tuple[Notice, ...]:
    """Whom an event concerns and what they are told; nothing where the day takes its course."""
    told = TOLD.get(event.type)
    if told is None:
        return ()
    notice = Notice(
        tenant_id=event.tenant_id,
        appointment_id=event.appointment_id,
        recipient_id=event.subject_id,
        template=told.template,
        occurrence=event.id,
        expires_at=event.at + told.worth,
    )
    return (notice,)
