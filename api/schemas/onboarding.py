"""Applications of practices over the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from api.schemas.values import Text
from models.base import Model, UtcDatetime
from models.booking import WaitingFor
from models.onboarding import (
    CLOCK_RUNS,
    ApplicantClinic,
    ApplicantPractitioner,
    Application,
    ApplicationDetails,
    ApplicationState,
    DecisionKind,
    DocumentRef,
    Finding,
    Line,
    OnboardingActorKind,
    OnboardingEventType,
    Owner,
    PhoneNumber,
    Slug,
)


class OwnerChanges(Model):
    """What may change about the owner; the mailbox was proved and stays."""

    name: Line | None = None
    phone: PhoneNumber | None = None


class ApplicationChanges(Model):
    """What the applicant changes; what is left out stays."""

    practice_name: Line | None = None
    slug: Slug | None = None
    owner: OwnerChanges | None = None
    clinic: ApplicantClinic | None = None
    practitioner: ApplicantPractitioner | None = None

    def applied_to(self, details: ApplicationDetails) -> ApplicationDetails:
        """The details with the changes."""
        changes = {name: value for name, value in dict(self).items() if value is not None and name != "owner"}
        if self.owner is not None:
            given = {name: value for name, value in dict(self.owner).items() if value is not None}
            changes["owner"] = details.owner.model_copy(update=given)
        return details.model_copy(update=changes)


class VerifyEmail(Model):
    """What the link in the letter carries."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class DecideApplication(Model):
    """A reviewer's decision; the applicant reads the note."""

    decision: DecisionKind
    note: Annotated[Text, StringConstraints(max_length=2000)] | None = None


class ApplicationRef(BaseModel):
    """An application, and where it stands."""

    id: str
    state: ApplicationState


class ApplicationAccess(ApplicationRef):
    """A token that opens this application and nothing else."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  the scheme's name
    expires_in: int = Field(description="Seconds.")


class SlaView(BaseModel):
    """The promised time of the review."""

    due_at: UtcDatetime | None = Field(description="Null while the clock stands still.")
    overdue: bool
    paused: bool = Field(description="Whether it is the applicant's turn.")
    used_percent: int


class DocumentView(BaseModel):
    """A document that was handed in."""

    id: str
    kind: str
    name: str
    media_type: str
    size: int
    sha256: str
    scanned_by: str = Field(description="What looked at it; `type check` where no scanner is configured.")
    at: UtcDatetime

    @classmethod
    def of(cls, document: DocumentRef) -> DocumentView:
        """The document as everybody may see it who may see the application."""
        return cls.model_validate(document.model_dump())


class ApplicationHistoryView(BaseModel):
    """One step of an application's life."""

    event: OnboardingEventType
    state: ApplicationState
    at: UtcDatetime
    by: OnboardingActorKind
    note: str | None


class ProvisionedView(BaseModel):
    """What was made of it."""

    tenant_id: str
    clinic_id: str
    provider_id: str


class ApplicationView(ApplicationRef):
    """An application as its applicant and the reviewers see it."""

    version: int
    practice_name: str
    slug: str
    owner: Owner | None = Field(description="Null: erased.")
    clinic: ApplicantClinic | None
    practitioner: ApplicantPractitioner | None
    email_verified: bool
    documents: list[DocumentView]
    findings: list[Finding] = Field(description="What the checks found, once it was submitted.")
    note: str | None = Field(description="The reviewer's latest words.")
    sla: SlaView | None = Field(description="Null until it is submitted.")
    waiting_for: WaitingFor | None
    provisioned: ProvisionedView | None
    history: list[ApplicationHistoryView]
    created_at: UtcDatetime
    updated_at: UtcDatetime

    @classmethod
    def of(cls, application: Application, now: datetime) -> ApplicationView:
        """The application as it is now."""
        details = application.details
        history = [
            ApplicationHistoryView(
                event=one.event,
                state=one.state,
                at=one.at,
                by=one.by,
                note=application.notes.get(one.note_id) if one.note_id else None,
            )
            for one in application.history
        ]
        return cls(
            **application.model_dump(
                include={
                    "id", "state", "version", "practice_name", "slug", "email_verified", "created_at", "updated_at",
                }
            ),
            owner=details.owner if details else None,
            clinic=details.clinic if details else None,
            practitioner=details.practitioner if details else None,
            documents=[DocumentView.of(one) for one in application.documents],
            findings=list(application.findings),
            note=next((one.note for one in reversed(history) if one.note), None),
            sla=_sla(application, now),
            waiting_for=application.waiting_for,
            provisioned=_provisioned(application),
            history=history,
        )  # fmt: skip


class ApplicationPage(BaseModel):
    """One page of applications: newest first, or the longest overdue first."""

    items: list[ApplicationView]
    next_cursor: str | None


def _sla(application: Application, now: datetime) -> SlaView | None:
    clock = application.clock
    if clock is None:
        return None
    return SlaView(
        due_at=application.due_at,
        overdue=application.due_at is not None and application.due_at <= now,
        paused=application.state not in CLOCK_RUNS,
        used_percent=int(100 * (clock.used_at(now) / clock.allowed)),
    )


def _provisioned(application: Application) -> ProvisionedView | None:
    if not any(one.event is OnboardingEventType.PROVISIONED for one in application.history):
        return None
    made = application.made
    return ProvisionedView(tenant_id=made.tenant_id, clinic_id=made.clinic_id, provider_id=made.provider_id)
