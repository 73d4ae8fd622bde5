"""What the API itself puts into the audit: who looked at somebody's record, and who was refused. Ids only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from fastapi import Request

from models.booking import ActorKind, Appointment, actor_of
from models.compliance import AuditAction, AuditEntry, network_of
from models.consents import Consent
from models.day_list import Visit
from models.documents import Document
from models.identity import PLATFORM, Permission, Principal
from models.ids import random_id
from models.ports import AuditTrail
from models.providers import Provider
from models.rights import RightsRequest

ANYBODY: Final = "anybody"


def origin_of(request: Request) -> str | None:
    """The address that a request came from."""
    return request.client.host if request.client is not None else None


class AuditLog:
    """Writes entries before the answer leaves: a look that cannot be noted is not granted."""

    def __init__(self, trail: AuditTrail) -> None:
        """Where entries go."""
        self._trail = trail

    async def reads(self, request: Request, reader: Principal, appointments: Iterable[Appointment | Visit]) -> None:
        """Note that somebody saw records of patients who are not themselves. Raises `UnavailableError`."""
        entries = [
            self._entry(request, reader, AuditAction.RECORD_READ, one.tenant_id, one.id, one.subject_id)
            for one in appointments
            if one.subject_id != reader.subject
        ]
        if entries:
            await self._trail.append(entries)

    async def read_document(self, request: Request, reader: Principal, document: Document) -> None:
        """Note that somebody was given a document of a patient who is not themselves. Raises `UnavailableError`."""
        if document.subject_id != reader.subject:
            action, target = AuditAction.RECORD_READ, document.id
            entry = self._entry(request, reader, action, document.tenant_id, target, document.subject_id)
            await self._trail.append([entry])

    async def wrote(self, request: Request, who: Principal, action: AuditAction, appointment: Appointment) -> None:
        """Note that somebody adds to a patient's record. Raises `UnavailableError`."""
        entry = self._entry(request, who, action, appointment.tenant_id, appointment.id, appointment.subject_id)
        await self._trail.append([entry])

    async def refusal(self, request: Request, who: Principal, permission: Permission) -> None:
        """Note that somebody's role did not allow what they asked for. Raises `UnavailableError`."""
        await self._trail.append([self._entry(request, who, AuditAction.REFUSED, who.tenant_id, permission, None)])

    async def act(self, request: Request, admin: Principal, target: str) -> None:
        """Note what an admin of the platform looked into or did. Raises `UnavailableError`."""
        await self._trail.append([self._entry(request, admin, AuditAction.ADMIN_ACT, admin.tenant_id, target, None)])

    async def payloads(self, request: Request, reader: Principal, sent: tuple[int, int], named: Sequence[str]) -> None:
        """Note that somebody saw payloads in clear: the look itself, and each record named there.

        `sent`: how many payloads there were, and how many of them had been encrypted. Raises `UnavailableError`.
        """
        action, (whole, encrypted) = AuditAction.PAYLOADS_READ, sent
        look = self._entry(request, reader, action, reader.tenant_id, Permission.CODEC_USE, None)
        why = f"{look.why}: {whole} payloads, {encrypted} encrypted, {len(named)} records"
        records = [self._entry(request, reader, action, reader.tenant_id, one, None) for one in named]
        await self._trail.append([look.model_copy(update={"why": why}), *records])

    async def rights(
        self, request: Request, who: Principal, action: AuditAction, requests: Iterable[RightsRequest]
    ) -> None:
        """Note that somebody reads or answers what patients asked for by right. Raises `UnavailableError`."""
        await self._trail.append(
            [self._entry(request, who, action, who.tenant_id, one.id, one.subject_id) for one in requests]
        )

    def of(self, request: Request, admin: Principal, target: str) -> AuditEntry:
        """The entry of what an admin is about to do, to be kept with the change itself."""
        return self._entry(request, admin, AuditAction.ADMIN_ACT, admin.tenant_id, target, None)

    async def published(self, request: Request, who: Principal, provider: Provider) -> None:
        """Note that somebody changes what is published of a provider. Raises `UnavailableError`."""
        entry = self._entry(request, who, AuditAction.PUBLISHED, provider.tenant_id, provider.id, None)
        await self._trail.append([entry])

    async def link_used(self, request: Request, holder: Principal, appointment: Appointment) -> None:
        """Note that somebody with a link acts for a patient. Raises `UnavailableError`."""
        entry = self._entry(
            request, holder, AuditAction.LINK_USED, appointment.tenant_id, appointment.id, appointment.subject_id
        )
        await self._trail.append([entry])

    async def note(self, request: Request, who: Principal, action: AuditAction, target: str) -> None:
        """Note what somebody does who is known, before it is done. Raises `UnavailableError`."""
        await self._trail.append([self._entry(request, who, action, who.tenant_id, target, None)])

    async def note_once(self, request: Request, who: Principal, action: AuditAction, target: str) -> None:
        """Likewise, for what happens to `target` once: whoever has to try again is noted once. Raises likewise."""
        entry = self._entry(request, who, action, who.tenant_id, target, None)
        await self._trail.append([entry.model_copy(update={"id": f"aud_of_{target}"})])

    async def looked_up(self, request: Request, who: Principal) -> None:
        """Note that an admin read the audit itself. Raises `UnavailableError`."""
        await self._trail.append([self._entry(request, who, AuditAction.AUDIT_READ, who.tenant_id, "audit", None)])

    async def consent(self, request: Request, who: Principal, consent: Consent) -> None:
        """Note an answer, once however often it is given again. Raises `UnavailableError`."""
        action = AuditAction.CONSENT_GIVEN if consent.granted else AuditAction.CONSENT_WITHDRAWN
        entry = self._entry(request, who, action, who.tenant_id, consent.id, consent.about)
        await self._trail.append([entry.model_copy(update={"id": f"aud_of_{consent.id}"})])

    async def unknown(
        self, request: Request, action: AuditAction, target: str, tenant_id: str = PLATFORM, *, more: str | None = None
    ) -> None:
        """Note what somebody tried who has not proved who they are; `more` tells what they did prove.

        Raises `UnavailableError`.
        """
        entry = AuditEntry(
            id=random_id("aud"),
            tenant_id=tenant_id,
            at=datetime.now(UTC),
            actor=ANYBODY,
            actor_kind=ANYBODY,
            action=action,
            target=target,
            why=_why(request) if more is None else f"{_why(request)}: {more}",
            origin=_network_of(request),
        )
        await self._trail.append([entry])

    def _entry(
        self, request: Request, who: Principal, action: AuditAction, tenant_id: str, target: str, subject_id: str | None
    ) -> AuditEntry:
        kind = actor_of(who.subject, who.roles).kind
        return AuditEntry(
            id=random_id("aud"),
            tenant_id=tenant_id,
            at=datetime.now(UTC),
            actor=who.subject,
            actor_kind=kind,
            action=action,
            target=target,
            subject_id=subject_id,
            why=_why(request),
            # Whoever works here answers for what they do, from where included.
            origin=_network_of(request) if kind is ActorKind.PATIENT else origin_of(request),
        )


def _network_of(request: Request) -> str | None:
    address = origin_of(request)
    return None if address is None else network_of(address)


def _why(request: Request) -> str:
    return f"{request.method} {request.scope['route'].path}"
