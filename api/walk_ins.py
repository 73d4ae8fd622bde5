"""Whose visit a walk-in's is: the account of their phone, or nobody's but their own."""

from __future__ import annotations

from typing import Final, NamedTuple

from models.booking import PatientDetails
from models.consents import Purpose
from models.dependants import meant_by
from models.errors import Code, VisitNowError
from models.identity import PLATFORM, Account, Role, Subject, System
from models.identity_ports import Dependants, Users
from models.ids import derived_id, random_id
from models.ports import Consents

AT_THE_DESK: Final = System("a front desk books for whoever stands there, and is told nothing of them")


class Received(NamedTuple):
    """Whose visit it is, and for whom, where that is somebody whom the account books for."""

    subject_id: str
    dependant_id: str | None = None


class WalkIns:
    """Finds the patients of walk-ins; what it finds is never shown, so that nobody learns who has an account."""

    def __init__(self, users: Users, dependants: Dependants, consents: Consents, *, key: bytes) -> None:
        """`key` makes the ids of those who give no phone."""
        self._users = users
        self._dependants = dependants
        self._consents = consents
        self._key = key

    async def received(self, phone: str | None, patient: PatientDetails, *request: str) -> Received:
        """Whose visit it is. `request` names the request, so that a repeated one is about the same person.

        Who gives no phone, or does not want their data used any more, has this visit under a name of its own.
        """
        if phone is not None:
            account = await self._account(phone, patient.name)
            whom = None if account is None else await self._within(account.id, patient)
            if whom is not None:
                return whom
        return Received(derived_id("usr", self._key, *request))

    async def _within(self, account_id: str, patient: PatientDetails) -> Received | None:
        """For whom of the account's people; None where one of them does not want their data used any more."""
        scope = Subject(account_id)
        dependant_id = meant_by(patient, await self._dependants.of_subject(scope, account_id))
        for one in (account_id, dependant_id):
            if one is not None and not await self._consents.allows(scope, one, Purpose.CARE):
                return None
        return Received(account_id, dependant_id)

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
