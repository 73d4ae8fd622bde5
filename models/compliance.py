"""Audit: who did what to which record, when, why and from where. Ids only."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Final

from pydantic import Field

from models.base import Id, Model, UtcDatetime
from models.booking import SYSTEM, Event
from models.identity import PLATFORM
from models.ids import random_id
from models.onboarding import OnboardingEvent

OPERATOR: Final = "operator"
"""Whoever runs a command of ours with the installation's settings: the machine knows who that was, we do not."""


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
    ACCOUNT_CHANGED = "account.changed"
    DEPENDANT_CHANGED = "dependant.changed"
    DEPENDANT_REMOVED = "dependant.removed"
    KEY_MADE = "key.made"
    KEY_DESTROYED = "key.destroyed"
    KEYS_REWRAPPED = "keys.rewrapped"
    BACKED_UP = "backup.made"
    BACKUPS_REMOVED = "backup.removed"
    RESTORED = "backup.restored"
    AUDIT_READ = "audit.read"
    PAYLOADS_READ = "payloads.read"
    LINK_USED = "link.used"
    RIGHT_CLAIMED = "right.claimed"
    RIGHT_READ = "right.read"
    RIGHT_ANSWERED = "right.answered"
    EXPORT_REQUESTED = "export.requested"
    EXPORT_FETCHED = "export.fetched"
    CONSENT_GIVEN = "consent.given"
    CONSENT_WITHDRAWN = "consent.withdrawn"
    SUMMARY_WRITTEN = "summary.written"
    MESSAGE_RESENT = "message.resent"
    DOMAIN_ATTACHED = "domain.attached"
    DOCUMENT_ADDED = "document.added"
    TASK_DONE = "task.done"


_V4_NETWORK: Final = 24
_V6_NETWORK: Final = 48


def network_of(address: str) -> str:
    """The network of an IP address (IPv4 /24, IPv6 /48), as much as the audit says for good of where a patient was.

    No entry ever leaves the chain, so a whole address would outlive the person's right to be forgotten. What is not an
    address stays as it is.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    found = getattr(found, "ipv4_mapped", None) or found
    return str(ip_network((found, _V4_NETWORK if found.version == 4 else _V6_NETWORK), strict=False))  # noqa: PLR2004


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


class NotedEntry(AuditEntry):
    """An entry as it lies in the trail: `noted_at` is when the database took it, to the second."""

    noted_at: UtcDatetime


class AuditQuery(Model):
    """Which entries are listed; the bounds are of when they were noted, in seconds since 1970, the later one open."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    subject_id: str | None = None
    noted_from: int | None = Field(default=None, ge=0, lt=2**32)
    noted_to: int | None = Field(default=None, ge=0, lt=2**32)
    limit: int = Field(default=20, ge=1, le=100)


def audit_of_key(action: AuditAction, subject_id: str, data_class: str, at: datetime) -> AuditEntry:
    """The entry for a data key that is made or destroyed, noted before it is."""
    return AuditEntry(
        id=random_id("aud"),
        tenant_id=PLATFORM,
        at=at,
        actor=SYSTEM.id,
        actor_kind=SYSTEM.kind,
        action=action,
        target=f"key:{subject_id}:{data_class}",
        subject_id=subject_id,
    )


def audit_of_operator(action: AuditAction, target: str, at: datetime, why: str | None = None) -> AuditEntry:
    """The entry for what an operator does by command, with the installation's own settings in hand."""
    return AuditEntry(
        id=random_id("aud"),
        tenant_id=PLATFORM,
        at=at,
        actor=OPERATOR,
        actor_kind=OPERATOR,
        action=action,
        target=target,
        why=why,
    )


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
