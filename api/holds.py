"""Legal holds: placed and lifted by the platform's admins, each act audited, each waiting deletion told."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import Request

from api.audit import AuditLog
from api.problems import invalid
from models.cursor import decode_cursor, encode_cursor
from models.data_classes import RetentionClass
from models.deletions import OPEN
from models.deletions_ports import Children, Deletions
from models.errors import Code, VisitNowError
from models.holds import MOST_HOLDS, HoldReason, LegalHold, LegalHolds
from models.identity import PLATFORM, Principal, System, Tenant
from models.ids import derived_id, random_id
from models.ports import Page
from workflows.gateway import DeletionGateway

HOLDING = System("a legal hold is about a person, at whichever tenant")


class Holding:
    """Keeps what may not be erased."""

    def __init__(
        self,
        holds: LegalHolds,
        children: Children,
        deletions: Deletions,
        gateway: DeletionGateway,
        audit: AuditLog,
        *,
        key: bytes,
    ) -> None:
        """`key` derives the ids of repeated requests."""
        self._holds = holds
        self._children = children
        self._deletions = deletions
        self._gateway = gateway
        self._audit = audit
        self._key = key

    async def place(
        self,
        request: Request,
        caller: Principal,
        about: tuple[str, RetentionClass | None],
        why: tuple[HoldReason, str, datetime],
        key: str | None,
    ) -> LegalHold:
        """Forbid to erase something until a day. Raises `invalid`, `idempotency_key_reused`, `state_conflict`."""
        (subject_id, retained_under), (reason, reference, until) = about, why
        now = datetime.now(UTC).replace(microsecond=0)
        if until <= now:
            raise invalid("until", "past", "A hold ends in the future")
        if retained_under is RetentionClass.NONE:
            raise invalid("retained_under", "none", "What no rule keeps cannot be held by class: hold everything")
        wanted = LegalHold(
            id=random_id("hld") if key is None else derived_id("hld", self._key, caller.subject, key),
            subject_id=subject_id,
            account_id=await self._answering_for(subject_id),
            retained_under=retained_under,
            reason=reason,
            reference=reference,
            placed_by=caller.subject,
            placed_at=now,
            until=until.replace(microsecond=0),
        )
        if len(await self._holds.standing(HOLDING, wanted.account_id or subject_id, now)) >= MOST_HOLDS:
            raise VisitNowError(Code.STATE_CONFLICT, f"{MOST_HOLDS} holds stand on this person already")
        await self._audit.act(request, caller, f"hold:{wanted.id}")
        kept = await self._holds.place(Tenant(PLATFORM), wanted)
        since = {"placed_at": now, "account_id": wanted.account_id, "lifted_at": None, "lifted_by": None}
        if kept.model_copy(update=since) != wanted:
            raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED)
        await self._tell(kept)
        return kept

    async def lift(self, request: Request, caller: Principal, hold_id: str) -> None:
        """End one before its time; what it kept has its own time again. Raises `not_found`."""
        await self._audit.act(request, caller, f"hold:{hold_id}")
        now = datetime.now(UTC)
        lifted = await self._holds.lift(Tenant(PLATFORM), hold_id, caller.subject, now)
        await self._deletions.look_again(HOLDING, await self._account_of(lifted), hold_id, now)
        await self._tell(lifted)

    async def standing(
        self, request: Request, caller: Principal, subject_id: str | None, limit: int, cursor: str | None
    ) -> Page[LegalHold]:
        """Those that stand on a person, or on anybody; what ends first. Raises `ValueError` for a foreign cursor."""
        after = None if cursor is None else decode_cursor(cursor, datetime, str)
        await self._audit.act(request, caller, f"holds:{subject_id or 'all'}")
        found = await self._holds.page(Tenant(PLATFORM), subject_id, datetime.now(UTC), after, limit + 1)
        page = found[:limit]
        return Page(page, encode_cursor(page[-1].until, page[-1].id) if len(found) > limit else None)

    async def _account_of(self, hold: LegalHold) -> str:
        """The account whose deletions it may be in the way of."""
        return hold.account_id or await self._answering_for(hold.subject_id) or hold.subject_id

    async def _answering_for(self, subject_id: str) -> str | None:
        """Whose account what is kept of a child lies with; None for whoever has one, or is not there."""
        child = await self._children.find(HOLDING, subject_id)
        return None if child is None else child.subject_id

    async def _tell(self, hold: LegalHold) -> None:
        for one in await self._deletions.of_subject(HOLDING, await self._account_of(hold)):
            if one.state in OPEN and one.confirmed_at is not None:
                await self._gateway.changed(one.id)
