"""What the gateway accepts: request bodies and list queries, refused in its own words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sandbox.entities import MINIMUM_PAISE, Notes
from sandbox.errors import GatewayError

RECEIPT_LENGTH = 40
NOTES_COUNT = 15
NOTE_LENGTH = 256
SHORTEST_EXPIRY_MINUTES = 12
LONGEST_EXPIRY_MINUTES = 7200
DEFAULT_COUNT = 10
LARGEST_COUNT = 100
LONGEST_NUMBER = 12

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class CaptureRule:
    """Who captures an order's payments, and after how many minutes an uncaptured one is given back."""

    automatic: bool = False
    automatic_expiry_minutes: int = 3 * 24 * 60
    manual_expiry_minutes: int = 3 * 24 * 60


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A checked request for an order; amount in paise."""

    amount: int
    currency: str
    receipt: str | None
    notes: Notes
    rule: CaptureRule


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """A checked request for a refund; no amount means all that is left."""

    amount: int | None
    speed: Literal["normal", "optimum"]
    receipt: str | None
    notes: Notes


@dataclass(frozen=True, slots=True)
class Page:
    """A list query: creation times in Unix seconds, both ends included."""

    count: int = DEFAULT_COUNT
    skip: int = 0
    start: int = 0
    end: int | None = None


def parse_object(body: bytes) -> Fields:
    """Read a JSON object; an empty body is an empty object, as it is for the gateway."""
    if not body:
        return {}
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise GatewayError("The request body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise GatewayError("The request body must be a JSON object.")
    return value


def parse_order(body: bytes) -> OrderRequest:
    """Check the body of `POST /v1/orders`."""
    fields = parse_object(body)
    _only(fields, {"amount", "currency", "receipt", "notes", "partial_payment", "payment"})
    amount = _amount(fields, required=True)
    if amount < MINIMUM_PAISE:
        raise GatewayError("Order amount less than minimum amount allowed", field="amount")
    if fields.get("partial_payment", False) is not False:
        raise GatewayError("Partial payment is not enabled on this account.", field="partial_payment")
    return OrderRequest(
        amount=amount,
        currency=_currency(fields),
        receipt=_receipt(fields),
        notes=_notes(fields),
        rule=_capture_rule(fields.get("payment")),
    )


def parse_capture(body: bytes) -> tuple[int, str]:
    """Check the body of a capture and give its amount in paise and its currency."""
    fields = parse_object(body)
    _only(fields, {"amount", "currency"})
    return _amount(fields, required=True), _currency(fields)


def parse_refund(body: bytes) -> RefundRequest:
    """Check the body of a refund."""
    fields = parse_object(body)
    _only(fields, {"amount", "speed", "notes", "receipt"})
    amount = _amount(fields, required=False) if fields.get("amount") is not None else None
    if amount is not None and amount < MINIMUM_PAISE:
        raise GatewayError("The amount must be at least INR 1.00", field="amount")
    speed = fields.get("speed", "normal")
    if speed not in {"normal", "optimum"}:
        raise GatewayError("The speed is invalid.", field="speed")
    return RefundRequest(
        amount=amount,
        speed="optimum" if speed == "optimum" else "normal",
        receipt=_receipt(fields),
        notes=_notes(fields),
    )


def parse_page(query: Mapping[str, str], largest: int = LARGEST_COUNT) -> Page:
    """Check `count`, `skip`, `from` and `to` of a list query."""
    count = query_number(query, "count", DEFAULT_COUNT)
    if count < 1:
        raise GatewayError("The count must be at least 1.", field="count")
    if count > largest:
        raise GatewayError(f"The count may not be greater than {largest}.", field="count")
    end = query_number(query, "to", 0) if "to" in query else None
    return Page(count=count, skip=query_number(query, "skip", 0), start=query_number(query, "from", 0), end=end)


def query_number(query: Mapping[str, str], name: str, default: int | None) -> int:
    """Read one whole number of a query; without a default it is required."""
    text = query.get(name)
    if text is None:
        if default is None:
            raise GatewayError(f"The {name} field is required.", field=name)
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > LONGEST_NUMBER:
        raise GatewayError(f"The {name} must be an integer.", field=name)
    return int(text)


def _only(fields: Fields, known: set[str]) -> None:
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise GatewayError(f"{', '.join(unknown)} is/are not required and should not be sent")


def _amount(fields: Fields, *, required: bool) -> int:
    amount = fields.get("amount")
    if amount is None and required:
        raise GatewayError("The amount field is required.", field="amount")
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise GatewayError("The amount must be an integer.", field="amount")
    return amount


def _currency(fields: Fields) -> str:
    currency = fields.get("currency")
    if currency is None:
        raise GatewayError("The currency field is required.", field="currency")
    if currency != "INR":
        raise GatewayError("Currency is not supported", field="currency")
    return "INR"


def _receipt(fields: Fields) -> str | None:
    receipt = fields.get("receipt")
    if receipt is None:
        return None
    if not isinstance(receipt, str):
        raise GatewayError("The receipt must be a string.", field="receipt")
    if len(receipt) > RECEIPT_LENGTH:
        raise GatewayError(f"The receipt may not be greater than {RECEIPT_LENGTH} characters.", field="receipt")
    return receipt


def _notes(fields: Fields) -> Notes:
    notes = fields.get("notes")
    if notes is None or notes in ({}, []):
        return []
    if not isinstance(notes, dict):
        raise GatewayError("The notes must be an array of key and value pairs.", field="notes")
    if len(notes) > NOTES_COUNT:
        raise GatewayError(f"Number of fields in notes should be less than or equal to {NOTES_COUNT}.", field="notes")
    kept: dict[str, str] = {}
    for key, value in notes.items():
        if not isinstance(value, str | int | float):
            raise GatewayError("The notes values must be strings or numbers.", field="notes")
        kept[key] = str(value)
        if len(key) > NOTE_LENGTH or len(kept[key]) > NOTE_LENGTH:
            raise GatewayError(f"The notes may not be greater than {NOTE_LENGTH} characters.", field="notes")
    return kept


def _capture_rule(value: object) -> CaptureRule:
    if value is None:
        return CaptureRule()
    payment = _sub_object(value, "payment", {"capture", "capture_options"})
    if payment.get("capture") not in {"automatic", "manual"}:
        raise GatewayError("The capture must be automatic or manual.", field="payment")
    known = {"automatic_expiry_period", "manual_expiry_period", "refund_speed"}
    options = _sub_object(payment.get("capture_options", {}), "capture_options", known)
    if options.get("refund_speed", "normal") not in {"normal", "optimum"}:
        raise GatewayError("The refund speed must be normal or optimum.", field="refund_speed")
    defaults = CaptureRule()
    return CaptureRule(
        automatic=payment["capture"] == "automatic",
        automatic_expiry_minutes=_minutes(options, "automatic_expiry_period", defaults.automatic_expiry_minutes),
        manual_expiry_minutes=_minutes(options, "manual_expiry_period", defaults.manual_expiry_minutes),
    )


def _sub_object(value: object, name: str, known: set[str]) -> Fields:
    if not isinstance(value, dict):
        raise GatewayError(f"The {name.replace('_', ' ')} must be an array of key and value pairs.", field=name)
    _only(value, known)
    return value


def _minutes(options: Fields, name: str, default: int) -> int:
    value = options.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise GatewayError(f"The {name.replace('_', ' ')} must be an integer.", field=name)
    if not SHORTEST_EXPIRY_MINUTES <= value <= LONGEST_EXPIRY_MINUTES:
        text = (
            f"The {name.replace('_', ' ')} must be between {SHORTEST_EXPIRY_MINUTES} and {LONGEST_EXPIRY_MINUTES}"
            " minutes."
        )
        raise GatewayError(text, field=name)
    return value
