"""Money in integer paise, and the double-entry ledger's arithmetic."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.base import Model

MINIMUM_CHARGE_PAISE = 100
"""The gateway's smallest amount (Razorpay, Orders API: at least INR 1.00)."""


class Money(Model):
    """An amount in paise (1/100 rupee); never negative, never a float."""

    amount: int = Field(ge=0, le=100_000_000, strict=True)
    currency: Literal["INR"] = "INR"

    def __str__(self) -> str:
        """The amount as a person reads it: `₹500.00`."""
        return f"₹{self.amount // 100:,}.{self.amount % 100:02d}"


def percent_of(amount: int, percent: int) -> int:
    """`percent` of `amount` paise, rounded down to the paisa, so that a refund never exceeds what was paid."""
    if not 0 <= percent <= 100:  # noqa: PLR2004  a percentage
        msg = "percent must lie within 0 and 100"
        raise ValueError(msg)
    return amount * percent // 100
