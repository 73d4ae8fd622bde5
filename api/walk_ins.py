"""Whose visit a walk-in's is: the account of their phone, or nobody's but their own."""

from __future__ import annotations

from typing import Final

from models.consents import Purpose
from models.errors import Code, VisitNowError
from models.identity import PLATFORM, Account, Role, Subject, System
from models.identity_ports import Users
from models.ids import derived_id, random_id
from models.ports import Consents

AT_THE_DESK: Final = System("a front desk books for whoever stands there, and is told nothing of them")


class WalkIns:
    """Finds the patients of walk-ins; what it finds is never shown, so that nobody learns who has an account."""

    def __init__(self, users: Users, consents: Consents, *, key: bytes) -> None:
        """`key` makes the ids of those who give no phone."""
        self._users = users
        self._consents = consents
        self._key = key

    async def subject(self, phone: str | None, name: str, *request: str) -> str:
        """Whose visit it is. `request` names the request, so that a repeated one is about the same person.

        Who gives no phone, or does not want their data used any more, has this visit under a name of its own.
        """
        if phone is not None:
            account = await self._account(phone, name)
            if account is not None and await self._consents.allows(Subject(account.id), account.id, Purpose.CARE):
                return account.id
        return derived_id("usr", self._key, *request)

    async def _account(self, phone: str, name: str) -> Account | None:
        known = await self._users.by_phone(AT_THE_DESK, phone)
        if known is not None:
            return known
        new = Account(id=random_id("usr"), tenant_id=PLATFORM, roles=frozenset({Role.PATIENT}), name=name, phone=phone)
        try:
            await self._users.add(Subject(new.id), new)
        except VisitNowError as error:
            if error.code is not Code.ACCOUNT_EXISTS:
                raise
            # They have just signed in for the first time.
            return await self._users.by_phone(AT_THE_DESK, phone)
        return new
