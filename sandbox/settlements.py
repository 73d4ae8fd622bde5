"""The reconciliation report: what was settled on a day or in a month, counted in Indian days."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from sandbox.entities import Payment, Refund
from sandbox.ledger import Ledger

INDIA = timezone(timedelta(hours=5, minutes=30))
SettledItem = dict[str, object]


@dataclass(frozen=True, slots=True)
class Period:
    """A day, or without `day` a month, of the Indian calendar."""

    year: int
    month: int
    day: int | None

    def contains(self, moment: datetime) -> bool:
        """Tell whether an Indian wall time lies within."""
        return (moment.year, moment.month) == (self.year, self.month) and self.day in {None, moment.day}


def settled_items(ledger: Ledger, period: Period) -> list[SettledItem]:
    """List what a period settled: payments when captured, refunds when made; what lapsed never was the merchant's."""
    return [*_payments(ledger, period), *_refunds(ledger, period)]


def _payments(ledger: Ledger, period: Period) -> Iterator[SettledItem]:
    for payment_id, captured_at in ledger.captured_at.items():
        if period.contains(datetime.fromtimestamp(captured_at, INDIA)):
            payment = ledger.payment(payment_id)
            fee = payment["fee"] or 0
            money = {"debit": 0, "credit": payment["amount"] - fee, "amount": payment["amount"], "fee": fee}
            yield _item(ledger, payment, payment, captured_at) | money | {"tax": payment["tax"] or 0}


def _refunds(ledger: Ledger, period: Period) -> Iterator[SettledItem]:
    for refund in ledger.refunds.values():
        payment = ledger.payment(refund["payment_id"])
        settled = payment["captured"] and refund["status"] == "processed"
        if settled and period.contains(datetime.fromtimestamp(refund["created_at"], INDIA)):
            money = {"debit": refund["amount"], "credit": 0, "amount": refund["amount"], "fee": 0, "tax": 0}
            yield _item(ledger, refund, payment, refund["created_at"]) | money | {"payment_id": payment["id"]}


def _item(ledger: Ledger, entity: Payment | Refund, payment: Payment, settled_at: int) -> SettledItem:
    day = datetime.fromtimestamp(settled_at, INDIA).date().isoformat()
    return {
        "entity_id": entity["id"],
        "type": entity["entity"],
        "debit": 0,
        "credit": 0,
        "amount": entity["amount"],
        "currency": entity["currency"],
        "fee": 0,
        "tax": 0,
        "on_hold": False,
        "settled": True,
        "created_at": entity["created_at"],
        "settled_at": settled_at,
        "settlement_id": f"setl_{hashlib.sha256(day.encode()).hexdigest()[:14]}",
        "settlement_utr": f"utr{day.replace('-', '')}",
        "description": payment["description"],
        "notes": entity["notes"],
        "payment_id": None,
        "order_id": payment["order_id"],
        "order_receipt": ledger.order(payment["order_id"])["receipt"],
        "method": payment["method"],
        "dispute_id": None,
    }
