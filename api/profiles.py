"""What somebody says of themselves, and whom they book for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

from api.problems import invalid
from api.sign_in import known_to
from models.booking import PatientDetails
from models.compliance import AuditAction
from models.deletions_ports import Leaves
from models.dependants import MOST_DEPENDANTS, Dependant, meant_by
from models.errors import Code, VisitNowError, not_found
from models.identity import Account, Principal, Subject
from models.identity_ports import Dependants, Users
from models.ids import derived_id, random_id

Noting = Callable[[AuditAction, str], Awaitable[None]]
"""Notes what is about to be written: once nothing speaks against it, and before it counts."""


class Profiles:
    """Reads and changes the caller's own account and dependants."""

    def __init__(self, users: Users, dependants: Dependants, leaves: Leaves, *, key: bytes) -> None:
        """`leaves` tells who is to be forgotten; `key` derives the ids of repeated requests."""
        self._users = users
        self._dependants = dependants
        self._leaves = leaves
        self._key = key

    async def own(self, caller: Principal) -> Account:
        """The caller's account. Raises `token_invalid` where it is gone."""
        return known_to(caller, await self._users.find(Subject(caller.subject), caller.subject))

    async def change(self, caller: Principal, fields: Mapping[str, object], first: Noting) -> Account:
        """Change some fields. Raises `invalid` for the address with which somebody signs in."""
        account = await self.own(caller)
        if "email" in fields and not account.is_patient:
            raise invalid("email", "fixed", "You sign in with your address: ask for an invitation to another one")
        changed = Account.model_validate({**dict(account), **fields})
        await first(AuditAction.ACCOUNT_CHANGED, account.id)
        if not await self._users.describe(Subject(caller.subject), changed):
            raise VisitNowError(Code.TOKEN_INVALID)
        return changed

    async def dependants(self, caller: Principal) -> Sequence[Dependant]:
        """Those the caller books for."""
        return await self._dependants.of_subject(Subject(caller.subject), caller.subject)

    async def add(
        self, caller: Principal, fields: Mapping[str, object], idempotency_key: str | None, first: Noting
    ) -> tuple[Dependant, str | None]:
        """One more, and who answers for them. Raises `invalid`, `idempotency_key_reused`, `state_conflict`."""
        scope = Subject(caller.subject)
        if idempotency_key is None:
            dependant_id = random_id("dep")
        else:
            dependant_id = derived_id("dep", self._key, caller.subject, idempotency_key)
        wanted = Dependant.model_validate({**fields, "id": dependant_id, "subject_id": caller.subject})
        before = await self._dependants.find(scope, dependant_id)
        if before is not None and before != wanted:
            raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED)
        if before is None and len(await self.dependants(caller)) >= MOST_DEPENDANTS:
            raise VisitNowError(Code.STATE_CONFLICT, f"Nobody books for more than {MOST_DEPENDANTS}")
        return await self._written(caller, wanted, first)

    async def correct(
        self, caller: Principal, dependant_id: str, fields: Mapping[str, object], first: Noting
    ) -> tuple[Dependant, str | None]:
        """Change some fields. Raises `not_found`, `invalid`, and `account_leaving` where they are to be forgotten."""
        found = await self._dependants.find(Subject(caller.subject), dependant_id)
        if found is None:
            raise not_found()
        await self._check_stays(caller, dependant_id)
        await self._dependants.mark_visits(Subject(caller.subject), found)
        return await self._written(caller, Dependant.model_validate({**dict(found), **fields}), first)

    async def _written(self, caller: Principal, dependant: Dependant, first: Noting) -> tuple[Dependant, str | None]:
        guardian = (await self.own(caller)).name
        if guardian is None and dependant.is_minor(datetime.now(UTC).date()):
            raise invalid("date_of_birth", "guardian_unnamed", "A child needs an adult with a name: give yours first")
        await first(AuditAction.DEPENDANT_CHANGED, dependant.id)
        await self._dependants.put(Subject(caller.subject), dependant)
        # What was booked before by these details is found from now on whatever becomes of them.
        await self._dependants.mark_visits(Subject(caller.subject), dependant)
        return dependant, guardian

    async def details(self, caller: Principal, dependant_id: str) -> PatientDetails:
        """A dependant as a booking keeps them. Raises `not_found`."""
        found = await self._dependants.find(Subject(caller.subject), dependant_id)
        if found is None:
            raise not_found()
        return PatientDetails(name=found.name, date_of_birth=found.date_of_birth, relation=found.relation)

    async def meant(self, caller: Principal, patient: PatientDetails) -> str | None:
        """The id of the caller's dependant whose details these are; None where they are none's."""
        return meant_by(patient, await self.dependants(caller))

    async def mark_visits(self, caller: Principal, dependant_id: str) -> None:
        """Have their visits of before count as theirs: those that were booked by nothing but their details."""
        found = await self._dependants.find(Subject(caller.subject), dependant_id)
        if found is not None:
            await self._dependants.mark_visits(Subject(caller.subject), found)

    async def remove(self, caller: Principal, dependant_id: str, first: Noting) -> None:
        """Forget one. Raises `not_found`, and `account_leaving` where that is under way with all that is theirs."""
        await self._check_stays(caller, dependant_id)
        found = await self._dependants.find(Subject(caller.subject), dependant_id)
        if found is None:
            raise not_found()
        await first(AuditAction.DEPENDANT_REMOVED, dependant_id)
        await self._dependants.mark_visits(Subject(caller.subject), found)
        if not await self._dependants.remove(Subject(caller.subject), dependant_id):
            raise not_found()

    async def _check_stays(self, caller: Principal, dependant_id: str) -> None:
        # What is still to be called off, kept and certified goes by who they were when it was confirmed.
        if await self._leaves(Subject(caller.subject), dependant_id) is not None:
            raise VisitNowError(Code.ACCOUNT_LEAVING)
