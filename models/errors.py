"""The one error tree: a stable code, its HTTP status, whether a retry can help and what a person should be told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Code(StrEnum):
    """Every code that a client may see; never renamed."""

    MALFORMED = "malformed"
    IDEMPOTENCY_KEY_REQUIRED = "idempotency_key_required"
    SIGNATURE_INVALID = "signature_invalid"
    CURSOR_INVALID = "cursor_invalid"
    TOKEN_MISSING = "token_missing"  # noqa: S105  a code, not a secret
    TOKEN_INVALID = "token_invalid"  # noqa: S105  a code, not a secret
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  a code, not a secret
    TICKET_INVALID = "ticket_invalid"
    CREDENTIALS_INVALID = "credentials_invalid"
    TOTP_REQUIRED = "totp_required"
    OTP_INVALID = "otp_invalid"
    REFRESH_REUSED = "refresh_reused"
    FORBIDDEN = "forbidden"
    STEP_UP_REQUIRED = "step_up_required"
    CONSENT_REQUIRED = "consent_required"
    ACCOUNT_LEAVING = "account_leaving"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    SLOT_TAKEN = "slot_taken"
    STATE_CONFLICT = "state_conflict"
    WINDOW_CLOSED = "window_closed"
    STALE = "stale"
    IF_MATCH_REQUIRED = "if_match_required"
    UPLOAD_VERSION = "upload_version"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    ACCOUNT_EXISTS = "account_exists"
    SLUG_TAKEN = "slug_taken"
    CHECKS_FAILED = "checks_failed"
    INVITE_SPENT = "invite_spent"
    LINK_SPENT = "link_spent"
    ERASED = "erased"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    DOCUMENT_REFUSED = "document_refused"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    INVALID = "invalid"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    SLOT_INVALID = "slot_invalid"
    TOO_SOON = "too_soon"
    TOO_FAR = "too_far"
    REFUND_EXCEEDS_PAYMENT = "refund_exceeds_payment"
    TOO_MANY_HOLDS = "too_many_holds"
    RATE_LIMITED = "rate_limited"
    OTP_EXHAUSTED = "otp_exhausted"
    INTERNAL = "internal"
    DAMAGED = "damaged"
    GATEWAY_UNAVAILABLE = "gateway_unavailable"
    UNAVAILABLE = "unavailable"
    WEBHOOK_UNCONFIGURED = "webhook_unconfigured"


class Retry(StrEnum):
    """Whether sending the same request again can help."""

    USELESS = "useless"
    HELPS = "helps"


class ErrorKind(NamedTuple):
    """One row of the published table of codes."""

    status: int
    retry: Retry
    title: str
    advice: str


ERRORS: dict[Code, ErrorKind] = {
    Code.MALFORMED: ErrorKind(400, Retry.USELESS, "The request is not valid JSON", "Report this to support."),
    Code.IDEMPOTENCY_KEY_REQUIRED: ErrorKind(
        400, Retry.USELESS, "An Idempotency-Key header is required", "Send a fresh random key with each new request."
    ),
    Code.SIGNATURE_INVALID: ErrorKind(400, Retry.USELESS, "The signature does not match", "Do not trust this message."),
    Code.CURSOR_INVALID: ErrorKind(
        400, Retry.USELESS, "The cursor is not one of ours", "Start again from the first page."
    ),
    Code.TOKEN_MISSING: ErrorKind(401, Retry.USELESS, "An access token is required", "Sign in."),
    Code.TOKEN_INVALID: ErrorKind(401, Retry.USELESS, "The access token is not valid", "Sign in again."),
    Code.TOKEN_EXPIRED: ErrorKind(401, Retry.USELESS, "The access token has expired", "Refresh it or sign in again."),
    Code.TICKET_INVALID: ErrorKind(401, Retry.USELESS, "The ticket is spent or unknown", "Ask for a new ticket."),
    Code.CREDENTIALS_INVALID: ErrorKind(
        401, Retry.USELESS, "These credentials are not valid", "Check what you typed, or reset your password."
    ),
    Code.TOTP_REQUIRED: ErrorKind(
        401, Retry.USELESS, "A code of your authenticator is required", "Type the code, or a recovery code."
    ),
    Code.OTP_INVALID: ErrorKind(401, Retry.USELESS, "The code is not valid", "Check the code, or ask for a new one."),
    Code.REFRESH_REUSED: ErrorKind(
        401, Retry.USELESS, "The session has ended: its refresh token was used twice", "Sign in again."
    ),
    Code.FORBIDDEN: ErrorKind(403, Retry.USELESS, "Your role does not allow this", "Ask your clinic's administrator."),
    Code.STEP_UP_REQUIRED: ErrorKind(
        403, Retry.USELESS, "Prove again that it is you", "Give your password or a code, then try again."
    ),
    Code.CONSENT_REQUIRED: ErrorKind(
        403, Retry.USELESS, "The consent that this needs was taken back", "Read the notice and agree, then try again."
    ),
    Code.ACCOUNT_LEAVING: ErrorKind(
        403, Retry.USELESS, "This account is to be deleted", "Take the deletion back to use the account again."
    ),
    Code.NOT_FOUND: ErrorKind(404, Retry.USELESS, "There is no such thing here", "Check the link."),
    Code.METHOD_NOT_ALLOWED: ErrorKind(
        405, Retry.USELESS, "This method is not offered here", "Report this to support."
    ),
    Code.SLOT_TAKEN: ErrorKind(409, Retry.USELESS, "That time has just been taken", "Choose one of the alternatives."),
    Code.STATE_CONFLICT: ErrorKind(
        409, Retry.USELESS, "Its state does not allow this", "Load it again: it has changed or is over."
    ),
    Code.WINDOW_CLOSED: ErrorKind(
        409, Retry.USELESS, "It can no longer be moved by yourself", "Call the clinic: they may still move it."
    ),
    Code.SLUG_TAKEN: ErrorKind(409, Retry.USELESS, "That name belongs to another practice", "Choose another name."),
    Code.CHECKS_FAILED: ErrorKind(
        409, Retry.USELESS, "The application cannot be approved as it is", "Ask the applicant for what is missing."
    ),
    Code.STALE: ErrorKind(
        412, Retry.USELESS, "Somebody else has changed this meanwhile", "Load it again and repeat your change."
    ),
    Code.IF_MATCH_REQUIRED: ErrorKind(
        428, Retry.USELESS, "An If-Match header is required", "Send the ETag of what you have loaded."
    ),
    Code.UPLOAD_VERSION: ErrorKind(412, Retry.USELESS, "Uploads speak tus 1.0.0 here", "Send `Tus-Resumable: 1.0.0`."),
    Code.RANGE_NOT_SATISFIABLE: ErrorKind(
        416, Retry.USELESS, "The file has no such bytes", "Content-Range says how many it has."
    ),
    Code.ACCOUNT_EXISTS: ErrorKind(
        409, Retry.USELESS, "There is an account with this address already", "Sign in, or use another address."
    ),
    Code.INVITE_SPENT: ErrorKind(410, Retry.USELESS, "The invitation is used up or over", "Ask for a new one."),
    Code.LINK_SPENT: ErrorKind(410, Retry.USELESS, "The link is used up or over", "Ask for a new one."),
    Code.ERASED: ErrorKind(410, Retry.USELESS, "This record was erased", "It cannot be brought back by anybody."),
    Code.TOO_LARGE: ErrorKind(413, Retry.USELESS, "The request is too large", "Send less."),
    Code.UNSUPPORTED_MEDIA_TYPE: ErrorKind(
        415, Retry.USELESS, "Only application/json is read here", "Report this to support."
    ),
    Code.DOCUMENT_REFUSED: ErrorKind(
        422, Retry.USELESS, "This file is not accepted", "Send a plain PDF, PNG or JPEG without active content."
    ),
    Code.CHECKSUM_MISMATCH: ErrorKind(
        422, Retry.HELPS, "The file arrived with another SHA-256 than was said", "Send it again."
    ),
    Code.INVALID: ErrorKind(422, Retry.USELESS, "Some fields are not valid", "Correct the named fields."),
    Code.IDEMPOTENCY_KEY_REUSED: ErrorKind(
        422, Retry.USELESS, "This Idempotency-Key was used for another request", "Use a fresh key."
    ),
    Code.SLOT_INVALID: ErrorKind(422, Retry.USELESS, "That is not a bookable time", "Load the free times again."),
    Code.TOO_SOON: ErrorKind(422, Retry.USELESS, "That time is too soon to be booked", "Choose a later time."),
    Code.TOO_FAR: ErrorKind(422, Retry.USELESS, "That time cannot be booked yet", "Choose an earlier time."),
    Code.REFUND_EXCEEDS_PAYMENT: ErrorKind(
        422, Retry.USELESS, "More than what is left of the payment", "Refund no more than what is left."
    ),
    Code.TOO_MANY_HOLDS: ErrorKind(
        429, Retry.HELPS, "Too many unpaid bookings at once", "Pay or cancel one of them first."
    ),
    Code.RATE_LIMITED: ErrorKind(429, Retry.HELPS, "Too many requests", "Wait as long as Retry-After says."),
    Code.OTP_EXHAUSTED: ErrorKind(429, Retry.USELESS, "Too many wrong codes", "Ask for a new code."),
    Code.INTERNAL: ErrorKind(500, Retry.HELPS, "Something went wrong on our side", "Try again later."),
    Code.DAMAGED: ErrorKind(
        500, Retry.USELESS, "The file is not what was stored any more", "Tell the clinic; nothing of it is shown."
    ),
    Code.GATEWAY_UNAVAILABLE: ErrorKind(
        503, Retry.HELPS, "The payment gateway does not answer", "Try again in a moment; nothing was charged twice."
    ),
    Code.UNAVAILABLE: ErrorKind(503, Retry.HELPS, "The service is starting or overloaded", "Try again in a moment."),
    Code.WEBHOOK_UNCONFIGURED: ErrorKind(503, Retry.HELPS, "This webhook is not configured", "Set its secret."),
}
"""The table of codes, as published in the documentation."""


class FieldError(NamedTuple):
    """What is wrong with one field: its dotted path, a stable code and a sentence without the value."""

    field: str
    code: str
    message: str


class VisitNowError(Exception):
    """An expected refusal that has a code of its own."""

    def __init__(
        self,
        code: Code,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        alternatives: Sequence[datetime] | None = None,
        retry_after: int | None = None,
    ) -> None:
        """`detail` is shown to people and must carry no personal data; `retry_after` is in seconds."""
        super().__init__(detail or ERRORS[code].title)
        self.code = code
        self.detail = detail or ERRORS[code].title
        self.errors = tuple(errors)
        self.alternatives = alternatives
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return ERRORS[self.code].status


class SubjectErasedError(VisitNowError):
    """Something was to be kept of somebody who was erased."""

    def __init__(self) -> None:
        """Nothing of whom."""
        super().__init__(Code.ERASED)


def not_found() -> VisitNowError:
    """The same answer for what does not exist and for what belongs to another tenant."""
    return VisitNowError(Code.NOT_FOUND)


class UnavailableError(Exception):
    """An outside service did not answer in time; nothing is known about the outcome."""


class GatewayError(Exception):
    """The payment gateway answered with an error of its own."""

    def __init__(self, status: int, code: str, reason: str, description: str) -> None:
        """The HTTP status and the fields of the gateway's error object; texts carry no personal data."""
        super().__init__(f"{status} {code} {reason}".strip())
        self.status = status
        self.code = code
        self.reason = reason
        self.description = description

    @property
    def retryable(self) -> bool:
        """Only a bad request stays bad: outages, rate limits, keys in flight and credentials of ours may be mended."""
        return self.status != 400  # noqa: PLR2004  an HTTP status


class DeliveryError(Exception):
    """A message's carrier answered that it does not take the message; nothing was sent."""

    def __init__(self, code: str, *, permanent: bool) -> None:
        """The carrier's own code; `permanent` where the same message would be refused again."""
        super().__init__(f"not taken: {code}")
        self.code = code
        self.permanent = permanent
