"""What the onboarding of practices asks of the outside, as `models.ports` does for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from models.identity import Scope
from models.onboarding import (
    Application,
    ApplicationDetails,
    ApplicationQuery,
    DocumentRef,
    Move,
    Moved,
    OnboardingEvent,
)
from models.ports import Page
from models.providers import Clinic, Practitioner, Provider, TenantRecord


class Applications(Protocol):
    """The applications of practices that want to join."""

    async def insert(
        self, scope: Scope, application_id: str, details: ApplicationDetails, body_hash: str, at: datetime
    ) -> bool:
        """Write a draft once; False where it was there. Raises `idempotency_key_reused` for another body."""
        ...

    async def find(self, scope: Scope, application_id: str) -> Application | None:
        """One application, its sealed parts opened."""
        ...

    async def amend(
        self, scope: Scope, application_id: str, version: int, details: ApplicationDetails, at: datetime
    ) -> None:
        """Replace what the applicant told. Raises `state_conflict` where it may not be changed, or has been."""
        ...

    async def verify_email(self, scope: Scope, application_id: str, at: datetime) -> None:
        """Note that the owner's mailbox is theirs, once. Raises `not_found`."""
        ...

    async def add_document(self, scope: Scope, application_id: str, document: DocumentRef, at: datetime) -> None:
        """Note a stored document, once. Raises `state_conflict` where none may be added."""
        ...

    async def keep_note(self, scope: Scope, application_id: str, note_id: str, text: str) -> None:
        """Keep the words that go with a command, sealed."""
        ...

    async def advance(self, scope: Scope, step: Move) -> Moved:
        """Change state, clock and events in one conditional update. Raises `not_found`."""
        ...

    async def page(self, scope: Scope, query: ApplicationQuery, cursor: str | None) -> Page[Application]:
        """Applications, newest first, or the most overdue first. Raises `ValueError` for a foreign cursor."""
        ...

    async def events(self, limit: int) -> list[OnboardingEvent]:
        """The oldest events that the relay has not drained (its own scope: all applications)."""
        ...

    async def drained(self, events: Sequence[OnboardingEvent]) -> None:
        """Take relayed events out of their outboxes."""
        ...


class Practices(Protocol):
    """What is made of an approved application, and taken back where it could not be finished."""

    async def slug_taken(self, scope: Scope, slug: str, tenant_id: str) -> bool:
        """Whether a tenant or clinic other than this tenant's has that name."""
        ...

    async def practitioner_by_registration(self, scope: Scope, key: str) -> Practitioner | None:
        """The person with that registration, if we know one."""
        ...

    async def open_tenant(self, scope: Scope, tenant: TenantRecord) -> None:
        """Write the tenant. Raises `slug_taken`."""
        ...

    async def open_clinic(self, scope: Scope, clinic: Clinic) -> None:
        """Write the clinic, not public yet. Raises `slug_taken`."""
        ...

    async def open_practitioner(self, scope: Scope, practitioner: Practitioner, application_id: str) -> str:
        """Write the person, or find the one who has this registration; their id."""
        ...

    async def open_provider(self, scope: Scope, provider: Provider) -> None:
        """Write the profile that is not live yet, with what search finds it by; it has no hours."""
        ...

    async def remove_tenant(self, scope: Scope, tenant_id: str) -> None:
        """Take the tenant back."""
        ...

    async def remove_clinic(self, scope: Scope, clinic_id: str) -> None:
        """Take the clinic back."""
        ...

    async def remove_practitioner(self, scope: Scope, application_id: str) -> None:
        """Take the person back that this application brought, unless another profile is theirs meanwhile."""
        ...

    async def remove_provider(self, scope: Scope, provider_id: str) -> None:
        """Take the profile back."""
        ...

    async def set_live(self, scope: Scope, tenant_id: str, *, live: bool) -> None:
        """Show the tenant's clinics and profiles to everybody, or hide them."""
        ...


class DocumentStore(Protocol):
    """Where uploaded files lie, encrypted."""

    async def keep(self, owner_id: str, document_id: str, content: bytes) -> None:
        """Write one file under its owner's key; again is harmless."""
        ...

    async def read(self, owner_id: str, document_id: str) -> bytes | None:
        """One file in clear; None where it, or its key, is gone."""
        ...
