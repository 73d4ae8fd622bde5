"""Orders, payments and refunds exactly as they travel: field names, order, prefixes, amounts in paise."""

from __future__ import annotations

import random
import string
from typing import Literal, TypedDict

Method = Literal["card", "netbanking", "wallet", "emi", "upi"]
OrderStatus = Literal["created", "attempted", "paid"]
PaymentStatus = Literal["created", "authorized", "captured", "refunded", "failed"]
RefundStatus = Literal["pending", "processed", "failed"]
Notes = dict[str, str] | list[str]

ALPHABET = string.ascii_letters + string.digits
ID_LENGTH = 14
MINIMUM_PAISE = 100

# What a real payer leaves behind in every payment and webhook; a consumer that stores any of it has kept too much.
CANARY_EMAIL = "asha.canary@example.com"
CANARY_CONTACT = "+919000012345"
CANARY_VPA = "asha.canary@exampleupi"

FEE_PERCENT = 2
GST_PERCENT = 18


class Order(TypedDict):
    """An order; `amount_due` is what is still to be captured, `attempts` counts the payments tried on it."""

    id: str
    entity: Literal["order"]
    amount: int
    amount_paid: int
    amount_due: int
    currency: str
    receipt: str | None
    offer_id: None
    status: OrderStatus
    attempts: int
    notes: Notes
    created_at: int


class Payment(TypedDict):
    """A payment; `fee` contains `tax`, both known once it is captured."""

    id: str
    entity: Literal["payment"]
    amount: int
    currency: str
    status: PaymentStatus
    order_id: str
    invoice_id: None
    international: bool
    method: Method
    amount_refunded: int
    refund_status: Literal["partial", "full"] | None
    captured: bool
    description: str | None
    card_id: str | None
    bank: str | None
    wallet: str | None
    vpa: str | None
    email: str
    contact: str
    notes: Notes
    fee: int | None
    tax: int | None
    error_code: str | None
    error_description: str | None
    error_source: str | None
    error_step: str | None
    error_reason: str | None
    acquirer_data: dict[str, str | None]
    created_at: int


class Refund(TypedDict):
    """A refund; `acquirer_data.arn` is the bank's reference, known once it is processed."""

    id: str
    entity: Literal["refund"]
    amount: int
    currency: str
    payment_id: str
    notes: Notes
    receipt: str | None
    acquirer_data: dict[str, str | None]
    created_at: int
    batch_id: None
    status: RefundStatus
    speed_processed: Literal["normal"]
    speed_requested: Literal["normal", "optimum"]


Entity = Order | Payment | Refund


def new_id(prefix: str) -> str:
    """Draw an id: the prefix, an underscore and 14 case-sensitive letters or digits."""
    # Ids must differ, they need not be secret; this is on the path of every call and of every webhook.
    return f"{prefix}_{''.join(random.choices(ALPHABET, k=ID_LENGTH))}"  # noqa: S311


def digits(length: int) -> str:
    """Draw a bank's reference number of so many digits."""
    return "".join(random.choices(string.digits, k=length))  # noqa: S311 - a reference number, no secret


def new_order(amount: int, currency: str, receipt: str | None, notes: Notes, created_at: int) -> Order:
    """Make an order nobody has tried to pay yet; `created_at` is Unix seconds."""
    return Order(
        id=new_id("order"),
        entity="order",
        amount=amount,
        amount_paid=0,
        amount_due=amount,
        currency=currency,
        receipt=receipt,
        offer_id=None,
        status="created",
        attempts=0,
        notes=notes,
        created_at=created_at,
    )


def new_payment(payment_id: str, order: Order, method: Method, created_at: int) -> Payment:
    """Make a payment of the whole order in state `created`, before the bank has answered."""
    return Payment(
        id=payment_id,
        entity="payment",
        amount=order["amount"],
        currency=order["currency"],
        status="created",
        order_id=order["id"],
        invoice_id=None,
        international=False,
        method=method,
        amount_refunded=0,
        refund_status=None,
        captured=False,
        description=None,
        card_id=new_id("card") if method in {"card", "emi"} else None,
        bank="HDFC" if method == "netbanking" else None,
        wallet="payzapp" if method == "wallet" else None,
        vpa=CANARY_VPA if method == "upi" else None,
        email=CANARY_EMAIL,
        contact=CANARY_CONTACT,
        notes=order["notes"],
        fee=None,
        tax=None,
        error_code=None,
        error_description=None,
        error_source=None,
        error_step=None,
        error_reason=None,
        acquirer_data={_reference_name(method): None},
        created_at=created_at,
    )


def new_refund(
    payment: Payment, amount: int, speed: Literal["normal", "optimum"], receipt: str | None, notes: Notes, now: int
) -> Refund:
    """Make a pending refund of `amount` paise of a payment; it goes back to the source at normal speed."""
    return Refund(
        id=new_id("rfnd"),
        entity="refund",
        amount=amount,
        currency=payment["currency"],
        payment_id=payment["id"],
        notes=notes,
        receipt=receipt,
        acquirer_data={"arn": None},
        created_at=now,
        batch_id=None,
        status="pending",
        speed_processed="normal",
        speed_requested=speed,
    )


def set_bank_reference(payment: Payment) -> None:
    """Fill in the reference that the bank gives when it authorizes."""
    name = _reference_name(payment["method"])
    payment["acquirer_data"] = {name: digits(6 if name == "auth_code" else 12)}


def set_fee(payment: Payment) -> None:
    """Fill in the gateway's fee in paise, 2 % rounded down, plus GST of 18 % on it; `fee` contains `tax`."""
    base = payment["amount"] * FEE_PERCENT // 100
    tax = base * GST_PERCENT // 100
    payment["tax"] = tax
    payment["fee"] = base + tax


def set_error(payment: Payment) -> None:
    """Mark a payment as refused by the payer's bank."""
    payment["error_code"] = "BAD_REQUEST_ERROR"
    payment["error_description"] = "Your payment was declined by the bank. Try another payment method."
    payment["error_source"] = "bank"
    payment["error_step"] = "payment_authorization"
    payment["error_reason"] = "payment_failed"


def clear_error(payment: Payment) -> None:
    """Take back a refusal: the bank has said yes after all."""
    payment["error_code"] = None
    payment["error_description"] = None
    payment["error_source"] = None
    payment["error_step"] = None
    payment["error_reason"] = None


def _reference_name(method: Method) -> str:
    return {"upi": "rrn", "netbanking": "bank_transaction_id", "wallet": "transaction_id"}.get(method, "auth_code")
