"""Payments, refunds and the ledger: states that only move forward, and transactions that sum to zero."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from models.base import Id, Model, UtcDatetime
from models.ids import keyless_refund_id
from models.money import Money


class PaymentState(StrEnum):
    """What became of the money of one appointment."""

    NOT_REQUIRED = "not_required"
    DUE_AT_CLINIC = "due_at_clinic"
    PAID_AT_CLINIC = "paid_at_clinic"
    PENDING = "pending"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    VOIDED = "voided"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"


_P = PaymentState
PAYMENT_TRANSITIONS: dict[PaymentState, frozenset[PaymentState]] = {
    _P.NOT_REQUIRED: frozenset(),
    _P.DUE_AT_CLINIC: frozenset({_P.PAID_AT_CLINIC}),
    _P.PAID_AT_CLINIC: frozenset(),
    _P.PENDING: frozenset({_P.AUTHORIZED, _P.CAPTURED, _P.VOIDED}),
    _P.AUTHORIZED: frozenset({_P.CAPTURED, _P.VOIDED}),
    _P.CAPTURED: frozenset({_P.PARTIALLY_REFUNDED, _P.REFUNDED}),
    # An authorization may lapse on our side and be captured by the bank all the same.
    _P.VOIDED: frozenset({_P.CAPTURED}),
    # A refund that the gateway could not carry out takes the state back.
    _P.PARTIALLY_REFUNDED: frozenset({_P.REFUNDED, _P.CAPTURED}),
    _P.REFUNDED: frozenset({_P.PARTIALLY_REFUNDED, _P.CAPTURED}),
}
"""What the payment state of an appointment may turn into."""


class RefundState(StrEnum):
    """What became of one refund."""

    PENDING = "pending"
    UNKNOWN = "unknown"
    PROCESSED = "processed"
    FAILED = "failed"


REFUND_TRANSITIONS: dict[RefundState, frozenset[RefundState]] = {
    RefundState.PENDING: frozenset({RefundState.UNKNOWN, RefundState.PROCESSED, RefundState.FAILED}),
    RefundState.UNKNOWN: frozenset({RefundState.PENDING, RefundState.PROCESSED, RefundState.FAILED}),
    RefundState.PROCESSED: frozenset(),
    RefundState.FAILED: frozenset(),
}
"""What a refund may turn into; a late word of the gateway never takes back a final one."""


class RefundReason(StrEnum):
    """Why money goes back; free text of staff is kept sealed beside it."""

    CANCELLED_BY_PATIENT = "cancelled_by_patient"
    CANCELLED_BY_CLINIC = "cancelled_by_clinic"
    LATE_PAYMENT = "late_payment"
    DUPLICATE_PAYMENT = "duplicate_payment"
    GOODWILL = "goodwill"


def owed_refund_id(appointment_id: str, payment_id: str, reason: RefundReason) -> str:
    """The id of what we owe by ourselves: of one payment, once for each reason."""
    return keyless_refund_id(appointment_id, f"{payment_id}:{reason}")


def reason_behind(refund_id: str, appointment_id: str, payment_id: str) -> RefundReason:
    """Why money went back, told by the id alone; what we did not owe somebody decided."""
    owed = (one for one in RefundReason if owed_refund_id(appointment_id, payment_id, one) == refund_id)
    return next(owed, RefundReason.GOODWILL)


class GatewayPaymentStatus(StrEnum):
    """A payment as the gateway reports it (Razorpay, payment entity)."""

    CREATED = "created"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    REFUNDED = "refunded"
    FAILED = "failed"


class Order(Model):
    """A gateway order: what the patient is asked to pay."""

    id: Id
    amount: int
    currency: str
    receipt: str
    status: str


class NewOrder(Model):
    """What we ask the gateway for: manual capture, so that money which comes too late is mostly never taken."""

    receipt: Id
    amount: Money
    tenant_id: Id
    capture_expiry_minutes: int = Field(ge=12, le=7200)


class PaymentFact(Model):
    """A payment as the gateway just told us; the only thing that money decisions rest on."""

    payment_id: Id
    order_id: str | None
    amount: int
    currency: str
    status: GatewayPaymentStatus
    captured: bool
    amount_refunded: int = 0
    method: str | None = None

    def pays(self, order_id: str, amount: int) -> bool:
        """Whether this is money for exactly that order, amount and currency."""
        return self.order_id == order_id and self.amount == amount and self.currency == "INR"


class RefundFact(Model):
    """A refund as the gateway just told us."""

    refund_id: Id
    payment_id: Id
    amount: int
    state: RefundState
    receipt: str | None = None
    """Our own id of it; none where it was made by hand."""
    appointment_id: str | None = None


def best_payment(facts: Sequence[PaymentFact], order_id: str, amount: int) -> PaymentFact | None:
    """The payment that settles the order: a captured one before an authorized one; None where nobody has paid.

    Failed, merely created and fully refunded (lapsed) payments do not count; `failed` may still become authorized.
    """
    usable = [fact for fact in facts if fact.pays(order_id, amount)]
    for status in (GatewayPaymentStatus.CAPTURED, GatewayPaymentStatus.AUTHORIZED):
        for fact in usable:
            if fact.status is status:
                return fact
    return None


def stray_captures(facts: Sequence[PaymentFact], settled_by: str | None) -> list[PaymentFact]:
    """Captured money that no appointment is owed: every captured payment but the one that settled the order."""
    return [
        fact
        for fact in facts
        if fact.status is GatewayPaymentStatus.CAPTURED
        and fact.payment_id != settled_by
        and fact.amount_refunded < fact.amount
    ]


class LedgerLine(Model):
    """One side of a transaction: paise, positive where the account is debited, negative where it is credited."""

    account: str
    amount: int
    item: Literal["consultation", "platform_fee", "refund", "settlement"]


class LedgerTransaction(Model):
    """A balanced transaction; its id is what it records, so it can be posted only once."""

    id: Id
    tenant_id: Id
    appointment_id: Id
    kind: Literal["capture", "refund", "refund_failed"]
    lines: tuple[LedgerLine, ...]
    at: UtcDatetime

    @model_validator(mode="after")
    def _balances(self) -> Self:
        if not self.lines or sum(line.amount for line in self.lines) != 0:
            msg = "the lines of a ledger transaction must sum to zero"
            raise ValueError(msg)
        return self


class Capture(Model):
    """Money that the gateway took for an appointment, in paise; the platform's fee is part of the amount."""

    tenant_id: Id
    appointment_id: Id
    subject_id: Id
    order_id: Id
    payment_id: Id
    amount: int = Field(gt=0)
    platform_fee: int = Field(default=0, ge=0)
    method: str | None = None
    stray: bool = False


class RefundRecord(Model):
    """One refund in the books; `gateway_refund_id` once the gateway has named it."""

    id: Id
    tenant_id: Id
    appointment_id: Id
    subject_id: Id
    payment_id: Id
    amount: int = Field(gt=0)
    reason: RefundReason
    state: RefundState = RefundState.PENDING
    gateway_refund_id: str | None = None


GATEWAY_ACCOUNT = "gateway:razorpay"


def capture_transaction(capture: Capture, at: UtcDatetime) -> LedgerTransaction:
    """Money in at the gateway; the consultation is owed to the tenant, the platform's fee is ours."""
    consultation = capture.amount - capture.platform_fee
    lines = [
        LedgerLine(account=GATEWAY_ACCOUNT, amount=capture.amount, item="settlement"),
        LedgerLine(account=f"payable:{capture.tenant_id}", amount=-consultation, item="consultation"),
    ]
    if capture.platform_fee:
        lines.append(LedgerLine(account="platform_fee", amount=-capture.platform_fee, item="platform_fee"))
    return LedgerTransaction(
        id=f"{capture.payment_id}:capture",
        tenant_id=capture.tenant_id,
        appointment_id=capture.appointment_id,
        kind="capture",
        lines=tuple(lines),
        at=at,
    )


def refund_transaction(refund: RefundRecord, at: UtcDatetime, *, failed: bool = False) -> LedgerTransaction:
    """Money back from what is owed to the tenant; a refund that failed for good is booked back."""
    sign = -1 if failed else 1
    kind: Literal["refund", "refund_failed"] = "refund_failed" if failed else "refund"
    return LedgerTransaction(
        id=f"{refund.id}:{kind}",
        tenant_id=refund.tenant_id,
        appointment_id=refund.appointment_id,
        kind=kind,
        lines=(
            LedgerLine(account=f"payable:{refund.tenant_id}", amount=sign * refund.amount, item="refund"),
            LedgerLine(account=GATEWAY_ACCOUNT, amount=-sign * refund.amount, item="settlement"),
        ),
        at=at,
    )


def refund_payment_state(captured: int, refunded: int) -> PaymentState:
    """The payment state after `refunded` paise of `captured` went (or are going) back."""
    if refunded <= 0:
        return PaymentState.CAPTURED
    return PaymentState.REFUNDED if refunded >= captured else PaymentState.PARTIALLY_REFUNDED


class WebhookEvent(Model):
    """The allow-listed part of a gateway event: no e-mail, phone or payment address ever enters the inbox."""

    id: Id
    type: str
    payment_id: str | None = None
    order_id: str | None = None
    refund_id: str | None = None
    raw_sha256: str
    created_at: UtcDatetime
    receipt: str | None = None
