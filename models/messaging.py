"""Messages to people: by which channel, from which template, for how long worth sending, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import Field

from models.base import Id, Model, UtcDatetime


class Channel(StrEnum):
    """How a message travels."""

    SMS = "sms"
    WHATSAPP = "whatsapp"
    EMAIL = "email"


class Template(StrEnum):
    """What a message is about; each has a text per language and channel."""

    OTP = "otp"
    INVITE = "invite"
    PASSWORD_RESET = "password_reset"  # noqa: S105  the name of a template
    EMAIL_VERIFICATION = "email_verification"
    APPLICATION_CHANGES_REQUESTED = "application_changes_requested"
    APPLICATION_REJECTED = "application_rejected"
    APPLICATION_APPROVED = "application_approved"
    PRACTICE_NOT_YET_LIVE = "practice_not_yet_live"
    PRACTICE_LIVE = "practice_live"
    REVIEW_DUE = "review_due"
    RIGHTS_DUE = "rights_due"
    RIGHTS_ANSWERED = "rights_answered"
    EXPORT_READY = "export_ready"
    ABSENCE_OFFER = "absence_offer"
    ABSENCE_OVER = "absence_over"
    APPOINTMENT_REMINDER = "appointment_reminder"
    APPOINTMENT_CONFIRMED = "appointment_confirmed"
    APPOINTMENT_RESCHEDULED = "appointment_rescheduled"
    APPOINTMENT_CANCELLED = "appointment_cancelled"
    APPOINTMENT_EXPIRED = "appointment_expired"
    APPOINTMENT_MISSED = "appointment_missed"
    PAYMENT_LATE = "payment_late"
    REFUND_PROCESSED = "refund_processed"
    VISIT_SUMMARY = "visit_summary"
    FEEDBACK_REQUEST = "feedback_request"
    FEEDBACK_REMINDER = "feedback_reminder"
    REVISIT_REMINDER = "revisit_reminder"
    DELETION_BEGUN = "deletion_begun"
    DELETION_DUE = "deletion_due"
    DELETION_CANCELLED = "deletion_cancelled"
    ACCOUNT_CLOSED = "account_closed"


class Content(Model):
    """An approved WhatsApp content and what fills its places, in their order."""

    sid: str
    variables: tuple[str, ...] = ()


class Brand(Model):
    """How whoever writes looks."""

    name: str
    color: str | None = None
    logo_url: str | None = None


class Letter(Model):
    """The words of a message, in its reader's language; only e-mails have a subject."""

    text: str
    subject: str | None = None
    content: Content | None = None
    """On WhatsApp: what is sent in place of the text, which says the same."""
    html: str | None = None
    """In an e-mail: the same words with their sender's looks."""
    calendar: str | None = None
    """In an e-mail: the visit as a calendar file (iCalendar)."""
    unsubscribe: str | None = None
    """In an e-mail that nobody asked for: where one click ends them."""
    sender: str | None = None
    """In an e-mail: whom it is from, by name."""


OPENING: Final = frozenset(
    {
        Template.OTP,
        Template.INVITE,
        Template.PASSWORD_RESET,
        Template.EMAIL_VERIFICATION,
        Template.APPLICATION_CHANGES_REQUESTED,
        Template.APPLICATION_REJECTED,
        Template.APPLICATION_APPROVED,
        Template.PRACTICE_NOT_YET_LIVE,
    }
)
"""Messages with a code or a link that opens something; their words go when they are worth nothing any more."""


TOLD_WHO_LEAVE: Final = frozenset(
    {
        Template.OTP,
        Template.DELETION_BEGUN,
        Template.DELETION_DUE,
        Template.DELETION_CANCELLED,
        Template.ACCOUNT_CLOSED,
    }
)
"""All that is still said to somebody who is to be forgotten: how far that is, and the code to take it back with."""


class Message(Model):
    """One message to one address. It is kept sealed under its subject's identity key and never leaves as a payload."""

    id: Id
    """The business key: the same id is never knowingly sent twice."""
    tenant_id: Id
    subject_id: Id
    channel: Channel
    to: str = Field(min_length=3, max_length=254)
    """A number in E.164 or an e-mail address."""
    template: Template
    params: dict[str, str] = Field(default_factory=dict)
    locale: str = "en"
    expires_at: UtcDatetime
    """After this instant it is worth nothing and is not sent any more."""
    notice_id: Id | None = None
    """The notice that this is one channel's try of."""
    appointment_id: Id | None = None
    start: UtcDatetime | None = None
    """The visit's start that it was worded for."""
    words: Letter | None = None
    """What it says, where that was worded when it was kept; else its template is filled in when it leaves."""


def reader(message: Message) -> str:
    """Whom it goes to, as the carrier writes it."""
    return f"whatsapp:{message.to}" if message.channel is Channel.WHATSAPP else message.to


class MessageState(StrEnum):
    """What became of a message."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


MESSAGE_TRANSITIONS: Mapping[MessageState, frozenset[MessageState]] = {
    MessageState.QUEUED: frozenset(
        {MessageState.SENT, MessageState.DELIVERED, MessageState.FAILED, MessageState.EXPIRED}
    ),
    MessageState.SENT: frozenset({MessageState.DELIVERED, MessageState.FAILED}),
    # A try whose answer was lost may have arrived after all.
    MessageState.EXPIRED: frozenset({MessageState.SENT, MessageState.DELIVERED}),
    MessageState.DELIVERED: frozenset(),
    MessageState.FAILED: frozenset(),
}
"""Forward only: the provider's words come in any order."""

PROVIDER_STATES: Mapping[str, MessageState] = {
    "sent": MessageState.SENT,
    "delivered": MessageState.DELIVERED,
    "read": MessageState.DELIVERED,
    "undelivered": MessageState.FAILED,
    "failed": MessageState.FAILED,
    "canceled": MessageState.FAILED,
}
"""Twilio's message statuses as ours; those that are missing say only that it is on its way."""


class Word(Model):
    """What became of a message, by the provider or by ourselves; the code is the provider's, `erased` or none."""

    state: MessageState
    provider_id: str | None = None
    error_code: str | None = None


class LogEntry(Model):
    """One line of a message's log: `tried`, `not_taken`, or the state that it came into."""

    at: UtcDatetime
    what: str
    error_code: str | None = None


class Delivered(Model):
    """What became of a message, without what it said."""

    id: Id
    notice_id: Id | None
    channel: Channel
    state: MessageState
    error_code: str | None = None
    attempts: int
    uncertain: int
    """How many of the tries followed one whose outcome nobody knew."""
    created_at: UtcDatetime
    updated_at: UtcDatetime
    log: tuple[LogEntry, ...] = ()


class Begun(Model):
    """A try that may go out now; `unsettled_since` is when the earliest one began whose outcome nobody knows."""

    message: Message | None
    """None where its words were erased meanwhile."""
    unsettled_since: UtcDatetime | None
    kept_at: UtcDatetime
    """When it was worded."""
    tried: int
    """How often before."""


class Standing(Model):
    """How far a message is, and what it takes to ask its carrier about it."""

    state: MessageState
    message: Message | None
    """None where its words were erased meanwhile."""
    provider_id: str | None = None
    unsettled_since: UtcDatetime | None = None
