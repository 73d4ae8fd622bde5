"""The ledger of consents, as the API writes and reads it; every other step asks `models.ports.Consents`."""

from __future__ import annotations

from typing import Protocol

from models.consents import Answer, Consent, Purpose
from models.identity import Scope
from models.ports import Consents


class ConsentLedger(Consents, Protocol):
    """Lines that are only ever added."""

    async def last(self, scope: Scope, about: str, purpose: Purpose) -> Consent | None:
        """The answer that holds; None where nothing was ever said."""
        ...

    async def record(self, scope: Scope, answer: Answer) -> Consent:
        """Add a line; the last one again where it says the same already. Raises `not_found`."""
        ...
