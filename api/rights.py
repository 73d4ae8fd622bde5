"""Requests by right: made by patients, answered by the clinic that they are about or by the platform."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import Request

from api.audit import AuditLog
from api.problems import invalid
from models.compliance import AuditAction
from models.errors import Code, VisitNowError, not_found
from models.identity import PLATFORM, Principal, Subject, Tenant
from models.ids import derived_id, random_id
from models.ports import Appointments, Page
from models.rights import MOST_OPEN, RightsKind, RightsOutcome, RightsRef, RightsRequest, RightsState, due_at
from models.rights_ports import RightsRequests
from workflows.gateway import RightsGateway


class RightsDesk:
    """Takes requests, shows them to both sides, and takes answers."""

    def __init__(
        self,
        requests: RightsRequests,
        appointments: Appointments,
        gateway: RightsGateway,
        audit: AuditLog,
        *,
        key: bytes,
    ) -> None:
        """`key` derives the ids of repeated requests."""
        self._requests = requests
        self._appointments = appointments
        self._gateway = gateway
        self._audit = audit
        self._key = key

    async def ask(
        self, request: Request, caller: Principal, kind: RightsKind, said: tuple[str, str | None], key: str | None
    ) -> RightsRequest:
        """Keep a request and start its clock. Raises `invalid`, `idempotency_key_reused`, `state_conflict`."""
        text, appointment_id = said
        scope = Subject(caller.subject)
        request_id = random_id("rrq") if key is None else derived_id("rrq", self._key, caller.subject, kind, key)
        before = await self._requests.find(scope, request_id)
        if before is not None:
            return await self._repeated(before, text, appointment_id)
        if await self._requests.waiting(scope, caller.subject) >= MOST_OPEN:
            raise VisitNowError(Code.STATE_CONFLICT, f"{MOST_OPEN} requests of yours wait for an answer already")
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        wanted = RightsRequest(
            id=request_id,
            kind=kind,
            tenant_id=await self._answerer(caller, appointment_id),
            subject_id=caller.subject,
            appointment_id=appointment_id,
            text=text,
            received_at=now,
            due_at=due_at(await self._gateway.policy(), kind, now),
        )
        await self._audit.note_once(request, caller, AuditAction.RIGHT_CLAIMED, wanted.id)
        kept = await self._requests.keep(scope, wanted)
        await self._gateway.begin(RightsRef.of(kept))
        return kept

    async def _repeated(self, before: RightsRequest, text: str, appointment_id: str | None) -> RightsRequest:
        """The same again; its clock is started where that had failed."""
        if (before.text, before.appointment_id) != (text, appointment_id):
            raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED)
        if before.state is RightsState.RECEIVED:
            await self._gateway.begin(RightsRef.of(before))
        return before

    async def _answerer(self, caller: Principal, appointment_id: str | None) -> str:
        if appointment_id is None:
            return PLATFORM
        found = await self._appointments.find(Subject(caller.subject), appointment_id, open_sealed=False)
        if found is None:
            raise invalid("appointment_id", "unknown", "There is no such appointment of yours")
        return found.tenant_id

    async def own(self, caller: Principal, kind: RightsKind, limit: int, cursor: str | None) -> Page[RightsRequest]:
        """The caller's requests, newest first. Raises `cursor_invalid`."""
        try:
            return await self._requests.of_subject(Subject(caller.subject), caller.subject, kind, limit, cursor)
        except ValueError as error:
            raise VisitNowError(Code.CURSOR_INVALID) from error

    async def to_answer(
        self, request: Request, caller: Principal, state: RightsState, limit: int, cursor: str | None
    ) -> Page[RightsRequest]:
        """What the caller's side is to answer, the first due first. Raises `cursor_invalid`."""
        try:
            page = await self._requests.in_state(Tenant(caller.tenant_id), state, limit, cursor)
        except ValueError as error:
            raise VisitNowError(Code.CURSOR_INVALID) from error
        await self._audit.rights(request, caller, AuditAction.RIGHT_READ, page.items)
        return page

    async def answer(
        self, request: Request, caller: Principal, request_id: str, outcome: RightsOutcome, text: str
    ) -> RightsRequest:
        """Answer; the same answer again changes nothing. Raises `not_found` and `state_conflict`."""
        scope = Tenant(caller.tenant_id)
        before = await self._requests.find(scope, request_id)
        if before is None:
            raise not_found()
        if before.state is RightsState.RECEIVED:
            await self._audit.rights(request, caller, AuditAction.RIGHT_ANSWERED, [before])
        answered = await self._requests.answer(scope, request_id, outcome, text, datetime.now(UTC))
        await self._gateway.answered(RightsRef.of(answered))
        return answered
