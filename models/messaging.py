"""Messages to people: through which channel, from which template, for how long they are worth sending."""

from __future__ import annotations

from enum import StrEnum

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
