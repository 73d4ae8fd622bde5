"""The audit over the wire."""

from __future__ import annotations

from pydantic import BaseModel, Field

from models.base import UtcDatetime
from models.booking import Appointment
from models.compliance import NotedEntry
from models.ids import reference
from models.providers import Clinic


class AuditEntryView(BaseModel):
    """Who did what to which thing, when, how and from where; ids only."""

    id: str
    at: UtcDatetime = Field(description="When it happened.")
    noted_at: UtcDatetime = Field(description="When the database took the entry; lists and seals follow this order.")
    actor: str
    actor_kind: str
    action: str
    target: str
    subject_id: str | None = Field(description="The patient whose record it was about.")
    why: str | None
    origin: str | None = Field(
        description="The address that the request came from; of a patient and of who is not signed in, its network."
    )

    @classmethod
    def of(cls, entry: NotedEntry) -> AuditEntryView:
        """An entry as an admin of its tenant sees it."""
        return cls(**entry.model_dump(exclude={"tenant_id"}))


class AuditPage(BaseModel):
    """A tenant's entries, newest first."""

    items: list[AuditEntryView]
    next_cursor: str | None


class SeenClinic(BaseModel):
    """Where the reader works."""

    id: str
    name: str


class LookView(BaseModel):
    """Somebody else read one's record."""

    at: UtcDatetime
    by: str = Field(description="The reader's account.")
    by_kind: str = Field(description="`clinic`: a doctor or one of the staff.")
    clinic: SeenClinic | None = Field(
        description="The clinic whose visit it was; null where that is gone, or there is none."
    )
    target: str = Field(description="What was read: an appointment, a document of one, or a request by right.")
    reference: str | None = Field(description="What the visit is called at the front desk.")

    @classmethod
    def of(cls, entry: NotedEntry, appointment: Appointment | None, clinic: Clinic | None) -> LookView:
        """An entry as the patient sees it."""
        return cls(
            at=entry.at,
            by=entry.actor,
            by_kind=entry.actor_kind,
            clinic=None if clinic is None else SeenClinic(id=clinic.id, name=clinic.name),
            target=entry.target,
            reference=None if appointment is None else reference(appointment.id),
        )


class LookPage(BaseModel):
    """Who has read one's record, newest first."""

    items: list[LookView]
    next_cursor: str | None
