"""Audit: who did what to which record, when, why and from where. Ids only."""

from __future__ import annotations

from enum import StrEnum

from models.base import Id, Model, UtcDatetime
from models.booking import Event
from models.identity import PLATFORM
from models.onboarding import OnboardingEvent


class AuditAction(StrEnum):
    """What is audited beside changes of state (whose action is the event's type)."""

    RECORD_READ = "record.read"
    REFUSED = "permission.refused"
    ADMIN_ACT = "admin.act"
    PUBLISHED = "provider.published"
    OVERRIDDEN = "appointment.overridden"
    SIGNED_IN = "session.begun"
    SIGN_IN_REFUSED = "session.refused"
    SESSION_ENDED = "session.ended"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105  an action, not a secret
    TOTP_CHANGED = "totp.changed"
    STEPPED_UP = "session.stepped_up"
    STAFF_INVITED = "staff.invited"
    STAFF_JOINED = "staff.joined"
    STAFF_REMOVED = "staff.removed"
    REVIEWED = "review.written"
    REVIEW_MODERATED = "review.moderated"
    CONSENT_GIVEN = "consent.given"
    CONSENT_WITHDRAWN = "consent.withdrawn"
    SUMMARY_WRITTEN = "summary.written"


class AuditEntry(Model):
    """One line of the audit trail; its id makes writing it twice harmless."""

    id: Id
    tenant_id: Id
    at: UtcDatetime
    actor: str
    actor_kind: str
    action: str
    target: str
    subject_id: str | None = None
    why: str | None = None
    origin: str | None = None


def audit_of(event: Event) -> AuditEntry:
    """The entry for a change of state."""
    return AuditEntry(
        id=event.id,
        tenant_id=event.tenant_id,
        at=event.at,
        actor=event.actor.id,
        actor_kind=event.actor.kind,
        action=event.type,
        target=event.appointment_id,
        subject_id=event.subject_id,
    )


def audit_of_application(event: OnboardingEvent) -> AuditEntry:
    """The entry for a step of an application; how long the one before took is what analytics read."""
    return AuditEntry(
        id=event.id,
        tenant_id=PLATFORM,
        at=event.at,
        actor=event.actor.id,
        actor_kind=event.actor.kind,
        action=event.type,
        target=event.application_id,
        why=f"{event.left} for {event.seconds} s",
    )
