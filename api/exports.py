"""Exports: asked for by those who have proved again who they are, fetched by short-lived links, opened on their way."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from fastapi import Request

from adapters.tokens import Purpose, PurposeTokens
from api.audit import AuditLog
from api.files import opened
from models.byte_ranges import ByteRange
from models.compliance import AuditAction
from models.errors import Code, VisitNowError, not_found
from models.exports import KEY_BYTES, LINK_LIFETIME, Export, ExportKind, ExportRef, ExportState, owner_of
from models.exports_ports import Exports
from models.identity import Principal, Role, Scope, Subject, System, Tenant
from models.ids import derived_id, random_id
from workflows.gateway import ExportsGateway, RightsGateway

LINKED = System("a link was signed for whoever was allowed to fetch this export")


class ExportFiles(Protocol):
    """Where the files of exports lie."""

    def read(self, export: Export, begin: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [begin, end). Raises `DamagedError`."""
        ...


class Doors(NamedTuple):
    """Who does what an export needs."""

    exports: ExportsGateway
    rights: RightsGateway
    """Which knows the platform's own settings."""


class Exporting:
    """Takes requests for exports, tells how they stand, and gives the files."""

    def __init__(
        self,
        exports: Exports,
        files: ExportFiles,
        doors: Doors,
        tokens: PurposeTokens,
        audit: AuditLog,
        *,
        key: bytes,
        public_url: str,
    ) -> None:
        """`key` derives the ids of repeated requests; links are addresses below `public_url`."""
        self._exports = exports
        self._files = files
        self._doors = doors
        self._tokens = tokens
        self._audit = audit
        self._key = key
        self._public_url = public_url

    async def ask(self, request: Request, caller: Principal, kind: ExportKind, key: str | None) -> Export:
        """Begin an export; the one that is being made, where there is one already."""
        about = caller.subject if kind is ExportKind.SUBJECT else caller.tenant_id
        scope = _scope(caller, kind)
        policy = await self._doors.rights.policy()
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        wanted = Export(
            id=random_id("exp") if key is None else derived_id("exp", self._key, caller.subject, kind, key),
            kind=kind,
            about=about,
            tenant_id=owner_of(kind, about),
            subject_id=caller.subject,
            requested_at=now,
            due_at=now + timedelta(hours=policy.export_hours),
            lifetime_seconds=max(1, int(policy.export_kept.total_seconds())),
            key=secrets.token_bytes(KEY_BYTES),
        )
        # First the entry: what cannot be noted is not begun. Where there is one already, that is what was asked for.
        await self._audit.note(request, caller, AuditAction.EXPORT_REQUESTED, wanted.id)
        kept = await self._exports.begin(scope, wanted)
        if kept.id != wanted.id:
            await self._audit.note(request, caller, AuditAction.EXPORT_REQUESTED, kept.id)
        if kept.state is ExportState.COLLECTING:
            await self._doors.exports.begin_export(ExportRef.of(kept))
        return kept

    async def find(self, caller: Principal, kind: ExportKind, export_id: str) -> Export:
        """One of the caller's. Raises `not_found`."""
        found = await self._exports.find(_scope(caller, kind), export_id)
        if found is None or found.kind is not kind:
            raise not_found()
        return found

    def link(self, caller: Principal, export: Export) -> str | None:
        """Where its file may be fetched for the next minutes; None where there is none."""
        now = datetime.now(UTC)
        if export.expires_at is None or not export.is_open(now):
            return None
        until = min(now + LINK_LIFETIME, export.expires_at)
        token = self._tokens.mint(Purpose.EXPORT, export.id, caller.subject, until, now)
        return f"{self._public_url}/v1/exports/{export.id}/content?token={token}"

    async def linked(self, request: Request, export_id: str, token: str) -> Export:
        """The export that a link leads to. Raises `token_invalid`, `not_found`, and `erased` where its file is gone."""
        now = datetime.now(UTC)
        grant = self._tokens.read(Purpose.EXPORT, token, now)
        if grant is None or grant.sub != export_id:
            raise VisitNowError(Code.TOKEN_INVALID)
        found = await self._exports.find(LINKED, export_id)
        if found is None:
            raise not_found()
        if not found.is_open(now) or found.key is None:
            raise VisitNowError(Code.ERASED)
        role = Role.PATIENT if found.kind is ExportKind.SUBJECT else Role.ADMIN
        holder = Principal(subject=grant.ver, tenant_id=found.tenant_id, roles=frozenset({role}), session_id="link")
        await self._audit.note(request, holder, AuditAction.EXPORT_FETCHED, export_id)
        return found

    async def content(self, export: Export, wanted: ByteRange) -> AsyncIterator[bytes]:
        """The bytes of a range; the first of them were opened already. Raises `damaged` and `unavailable`."""
        pieces = self._files.read(export, wanted.begin, wanted.end)
        return await opened(pieces)


def _scope(caller: Principal, kind: ExportKind) -> Scope:
    return Subject(caller.subject) if kind is ExportKind.SUBJECT else Tenant(caller.tenant_id)
