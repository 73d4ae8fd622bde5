"""Identifiers: what they look like and how those of a retried request are found again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

APPOINTMENT_PATTERN = r"^apt_[a-z2-7]{26}$"
APPLICATION_PATTERN = r"^app_[a-z2-7]{26}$"
REFUND_PATTERN = r"^rfd_[a-z2-7]{26}$"
DELETION_PATTERN = r"^del_[a-z2-7]{26}$"
_LENGTH = 26
_NOTICE_COLONS = 2
_REFERENCE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def _base32(digest: bytes) -> str:
    return base64.b32encode(digest).decode().lower()[:_LENGTH]


def derived_id(prefix: str, secret: bytes, *parts: str) -> str:
    """The same id for the same parts and nobody else's: `prefix_` and 26 base32 characters of an HMAC-SHA256.

    The parts are length-prefixed, so no two lists of parts run together.
    """
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return f"{prefix}_{_base32(hmac.digest(secret, message, hashlib.sha256))}"


def appointment_id(secret: bytes, tenant_id: str, subject: str, route: str, key: str) -> str:
    """The id of the appointment that this Idempotency-Key stands for; 30 characters, so it fits a receipt (40)."""
    return derived_id("apt", secret, tenant_id, subject, route, key)


def refund_id(secret: bytes, *parts: str) -> str:
    """The id of a refund; also its idempotency key at the gateway (at least 10 of `[A-Za-z0-9_-]`)."""
    return derived_id("rfd", secret, *parts)


def keyless_refund_id(appointment_id: str, cause: str) -> str:
    """The id of a refund that we owe by ourselves, found again from the appointment (or payment) and the cause."""
    digest = hashlib.sha256(f"{appointment_id}\n{cause}".encode()).digest()
    return f"rfd_{_base32(digest)}"


def review_id(appointment_id: str) -> str:
    """The id of the one review that a visit can have."""
    digest = hashlib.sha256(f"review\n{appointment_id}".encode()).digest()
    return f"rev_{_base32(digest)}"


def reference(appointment_id: str) -> str:
    """What a person reads out at the front desk: `VN-` and 8 characters without look-alikes."""
    digest = hashlib.sha256(appointment_id.encode()).digest()
    return "VN-" + "".join(_REFERENCE_ALPHABET[byte % 32] for byte in digest[:8])


def random_id(prefix: str) -> str:
    """A fresh id with 130 random bits."""
    return f"{prefix}_{_base32(secrets.token_bytes(17))}"


def booking_workflow_id(appointment_id: str) -> str:
    """The workflow that owns this appointment."""
    return f"booking:{appointment_id}"


def refund_workflow_id(refund_id: str) -> str:
    """The workflow that owns this refund."""
    return f"refund:{refund_id}"


def keyed_leave_id(secret: bytes, tenant_id: str, subject: str, provider_id: str, key: str) -> str:
    """The id of the leave that this Idempotency-Key stands for."""
    return derived_id("lve", secret, tenant_id, subject, provider_id, key)


def leave_workflow_id(leave_id: str) -> str:
    """The workflow that takes this leave."""
    return f"leave:{leave_id}"


def late_payment_workflow_id(order_id: str) -> str:
    """The guardian of an order whose booking is over."""
    return f"late-payment:{order_id}"


def onboarding_workflow_id(application_id: str) -> str:
    """The workflow that owns this application."""
    return f"onboarding:{application_id}"


def message_workflow_id(message_id: str) -> str:
    """The workflow that delivers this message."""
    return f"message:{message_id}"


def notice_id(appointment_id: str, occurrence: str, template: str, recipient_id: str) -> str:
    """The key under which a person is told one thing about one appointment, once; readable in the Temporal UI."""
    digest = hashlib.sha256(f"{appointment_id}\n{occurrence}\n{template}\n{recipient_id}".encode()).digest()
    return f"{appointment_id}:{template}:{_base32(digest)}"


def notice_try_id(notice_id: str, channel: str) -> str:
    """The message by which one channel is tried for a notice."""
    return f"{notice_id}:{channel}"


def notice_of_try(message_id: str) -> str | None:
    """The notice whose try this message is; None for a message that stands alone."""
    notice, _, channel = message_id.rpartition(":")
    return notice if channel and notice.startswith("apt_") and notice.count(":") == _NOTICE_COLONS else None


def notice_workflow_id(notice_id: str) -> str:
    """The workflow that tells it."""
    return f"notify:{notice_id}"


def rights_workflow_id(request_id: str) -> str:
    """The workflow that stays with this request by right."""
    return f"rights:{request_id}"


def export_workflow_id(export_id: str) -> str:
    """The workflow that makes this export, and clears it away."""
    return f"export:{export_id}"


def deletion_workflow_id(deletion_id: str) -> str:
    """The workflow that stays with this deletion; it is found by that only, never by its subject."""
    return f"deletion:{deletion_id}"


def reminder_workflow_id(appointment_id: str) -> str:
    """The workflow that reminds of this appointment."""
    return f"reminder:{appointment_id}"


def follow_up_workflow_id(appointment_id: str) -> str:
    """The workflow that follows a completed visit up."""
    return f"follow-up:{appointment_id}"


def absence_workflow_id(leave_id: str) -> str:
    """The workflow that finds other times for those whom a leave affects."""
    return f"absence:{leave_id}"


def staff_task_id(appointment_id: str, kind: str) -> str:
    """The task of that kind that a visit leads to, once."""
    digest = hashlib.sha256(f"{appointment_id}\n{kind}".encode()).digest()
    return f"tsk_{_base32(digest)}"
