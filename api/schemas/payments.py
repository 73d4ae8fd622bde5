"""Payments and refunds over the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from api.schemas.values import Text
from models.base import Model
from models.money import MINIMUM_CHARGE_PAISE, Money
from models.payments import RefundReason, RefundState

GatewayId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,40}$")]


class ReportPayment(Model):
    """What Checkout returned to the browser."""

    razorpay_payment_id: GatewayId
    razorpay_order_id: GatewayId
    razorpay_signature: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,128}$")]


class RefundAmount(Money):
    """What a refund gives back: at least the gateway's smallest amount."""

    amount: int = Field(ge=MINIMUM_CHARGE_PAISE, le=100_000_000, strict=True)


class RequestRefund(Model):
    """Money back by a decision of the clinic."""

    amount: RefundAmount
    reason: Annotated[Text, StringConstraints(max_length=500)]


class RefundView(BaseModel):
    """A refund."""

    id: str
    amount: Money
    state: RefundState
    reason: RefundReason
    note: str | None = Field(default=None, description="The clinic's own words; only the clinic sees them.")


class RefundList(BaseModel):
    """An appointment's refunds, oldest first; never more than one page."""

    items: list[RefundView]
    next_cursor: None = None


class Accepted(BaseModel):
    """The webhook is stored."""

    status: str = "stored"
