"""A practice's application: its states, the commands that change it and what is known of it.

A practice applies, proves its mailbox, submits, is reviewed by a person within a promised time, answers what it is
asked, is approved, is made in the system and goes live once somebody can book. Who the owner and the practitioner are
is personal: it lies sealed with the application and never stands in a command.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from models.base import Id, Model, UtcDatetime, ZoneName
from models.booking import WaitingFor
from models.errors import Code
from models.providers import Gender, Location
from models.review_clock import ReviewCalendar, ReviewClock


class ApplicationState(StrEnum):
    """Where an application stands."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    UNDER_REVIEW = "under_review"
    CHANGES_REQUESTED = "changes_requested"
    APPROVED = "approved"
    PROVISIONING = "provisioning"
    LIVE = "live"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    SUSPENDED = "suspended"


_S = ApplicationState
TRANSITIONS: Final[dict[ApplicationState, frozenset[ApplicationState]]] = {
    _S.DRAFT: frozenset({_S.SUBMITTED, _S.WITHDRAWN}),
    _S.SUBMITTED: frozenset({_S.UNDER_REVIEW, _S.WITHDRAWN}),
    _S.UNDER_REVIEW: frozenset({_S.CHANGES_REQUESTED, _S.APPROVED, _S.REJECTED, _S.WITHDRAWN}),
    _S.CHANGES_REQUESTED: frozenset({_S.UNDER_REVIEW, _S.WITHDRAWN, _S.REJECTED}),
    _S.APPROVED: frozenset({_S.PROVISIONING}),
    # What cannot be made goes back to the reviewer, who sees why.
    _S.PROVISIONING: frozenset({_S.LIVE, _S.UNDER_REVIEW, _S.SUSPENDED}),
    _S.LIVE: frozenset({_S.SUSPENDED}),
    _S.SUSPENDED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.WITHDRAWN: frozenset(),
}
"""The one table of what an application may turn into."""

FINAL_STATES: Final = frozenset(state for state, after in TRANSITIONS.items() if not after)
EDITABLE: Final = frozenset({_S.DRAFT, _S.CHANGES_REQUESTED})
"""The states in which the applicant may change what they told."""

CLOCK_RUNS: Final = frozenset({_S.SUBMITTED, _S.UNDER_REVIEW})
"""The states in which it is our turn."""


def sources_of(target: ApplicationState) -> frozenset[ApplicationState]:
    """The states from which `target` may be reached."""
    return frozenset(state for state, after in TRANSITIONS.items() if target in after)


class OnboardingActorKind(StrEnum):
    """Who did something with an application."""

    APPLICANT = "applicant"
    REVIEWER = "reviewer"
    SYSTEM = "system"


class OnboardingActor(Model):
    """Who did something: an opaque id and their kind."""

    kind: OnboardingActorKind
    id: Id


SYSTEM_ACTOR: Final = OnboardingActor(kind=OnboardingActorKind.SYSTEM, id="system")


class OnboardingEventType(StrEnum):
    """What happened to an application; these names go to the audit and to analytics."""

    CREATED = "application.created"
    EMAIL_VERIFIED = "application.email_verified"
    AMENDED = "application.amended"
    DOCUMENT_ADDED = "application.document_added"
    SUBMITTED = "application.submitted"
    RESUBMITTED = "application.resubmitted"
    REVIEW_STARTED = "application.review_started"
    CHECKED = "application.checked"
    REVIEW_HALF = "application.review_at_50_percent"
    REVIEW_NEARLY = "application.review_at_80_percent"
    REVIEW_OVERDUE = "application.review_overdue"
    CHANGES_REQUESTED = "application.changes_requested"
    APPROVED = "application.approved"
    REJECTED = "application.rejected"
    WITHDRAWN = "application.withdrawn"
    PROVISIONING = "application.provisioning"
    PROVISIONED = "application.provisioned"
    PROVISIONING_FAILED = "application.provisioning_failed"
    REMINDED = "application.reminded"
    LIVE = "application.live"
    SUSPENDED = "application.suspended"


MARK_EVENTS: Final = {
    50: OnboardingEventType.REVIEW_HALF,
    80: OnboardingEventType.REVIEW_NEARLY,
    100: OnboardingEventType.REVIEW_OVERDUE,
}


# What the applicant tells

Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")
]
"""A name or the like: one line without control characters."""

EmailAddress = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\.[^@\s]+$"),
]
"""Something that a mail server may accept; whether it reaches somebody is proved by writing to it."""

PhoneNumber = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^\+[1-9][0-9]{6,14}$")]
"""A number in E.164."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{1,38}[a-z0-9])$")]
"""A name that can be a subdomain."""


class Owner(Model):
    """Who answers for the practice."""

    name: Line
    email: EmailAddress
    phone: PhoneNumber


class ApplicantClinic(Model):
    """Where patients will come."""

    address: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")
    ]
    timezone: ZoneName
    city: Line | None = Field(default=None, description="Absent: read from the end of the address.")
    location: Location | None = None

    @property
    def town(self) -> str:
        """The city as search knows it: as given, else the address' last part without its postal code."""
        if self.city is not None:
            return self.city
        last = self.address.rsplit(",", 1)[-1]
        words = [word for word in last.split() if not any(one.isdigit() for one in word)]
        return " ".join(words)[:120].strip() or last.strip()[:120] or self.address[:120].strip()


class ApplicantPractitioner(Model):
    """The doctor whose registration is verified; council, number and year are text that a person compares."""

    name: Line
    council: Line
    registration_number: Annotated[Line, StringConstraints(max_length=40)]
    registration_year: int = Field(ge=1930, le=2100)
    specialties: Annotated[tuple[Line, ...], Field(min_length=1, max_length=10)]
    gender: Gender = "unstated"
    languages: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")], ...], Field(min_length=1, max_length=10)
    ] = ("en",)


class ApplicationDetails(Model):
    """Everything that an applicant tells."""

    practice_name: Line
    slug: Slug
    owner: Owner
    clinic: ApplicantClinic
    practitioner: ApplicantPractitioner


def registration_key(council: str, number: str, year: int) -> str:
    """What two mentions of one registration have in common: case and spaces do not tell doctors apart."""
    folded = ["".join(part.casefold().split()) for part in (council, number, str(year))]
    return hashlib.sha256("\n".join(folded).encode()).hexdigest()


# Documents


DocumentKind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""What the applicant says that a document is: `registration_certificate`, `identity_proof` or any other word."""

REGISTRATION_CERTIFICATE: Final = "registration_certificate"
IDENTITY_PROOF: Final = "identity_proof"


class DocumentRef(Model):
    """A stored document of an application; its name is the applicant's own and so sealed with the rest."""

    id: Id
    kind: DocumentKind
    media_type: str
    size: int = Field(ge=1)
    sha256: str
    scanned_by: str
    at: UtcDatetime
    name: str = ""


# Checks


class CheckName(StrEnum):
    """What is looked at before a person decides."""

    REGISTRATION = "registration"
    PRACTITIONER = "practitioner"
    SLUG = "slug"
    DOCUMENTS = "documents"


class CheckOutcome(StrEnum):
    """What came out of it. `blocking` cannot be approved, `review` wants a person's eye."""

    PASSED = "passed"
    REVIEW = "review"
    BLOCKING = "blocking"


class Finding(Model):
    """One check's outcome, in a sentence without personal data."""

    check: CheckName
    outcome: CheckOutcome
    detail: str


# Commands and steps


class OnboardingPolicy(Model):
    """How long things may take; the names are those of the settings."""

    review: timedelta = timedelta(hours=48)
    calendar: ReviewCalendar | None = None
    draft_days: timedelta = timedelta(days=30)
    remind_every: timedelta = timedelta(days=3)
    look_every: timedelta = timedelta(hours=1)


class StartOnboarding(Model):
    """The start of one application's workflow: ids and lengths only."""

    application_id: Id
    policy: OnboardingPolicy = OnboardingPolicy()


class DecisionKind(StrEnum):
    """What a reviewer may decide."""

    APPROVE = "approve"
    REQUEST_CHANGES = "request_changes"
    REJECT = "reject"


class Decide(Model):
    """A reviewer's decision; the words with it lie sealed under the decision's id."""

    decision_id: Id
    kind: DecisionKind
    actor: OnboardingActor


class Command(Model):
    """Submit, withdraw or suspend; `id` makes it happen once."""

    id: Id
    actor: OnboardingActor


class Answer(Model):
    """Where the application stands after a command; `refusal` says why nothing was changed."""

    state: ApplicationState
    refusal: Code | None = None


class Move(Model):
    """One change of an application in a single conditional update.

    `event_id` makes it happen once; without `to` the state stays; `clock` is the review's clock as it then stands.
    """

    application_id: Id
    event: OnboardingEventType
    event_id: Id
    at: UtcDatetime
    actor: OnboardingActor = SYSTEM_ACTOR
    to: ApplicationState | None = None
    clock: ReviewClock | None = None
    waiting_for: WaitingFor | None = None
    findings: tuple[Finding, ...] | None = None
    note_id: Id | None = None


class Moved(Model):
    """Whether the application stands where the step wanted it (now or from an earlier try), and where it stands."""

    applied: bool
    state: ApplicationState


# Reading


class OnboardingHistoryEntry(Model):
    """One step of an application's life; `seconds` is how long it had been in the state before (`left`)."""

    id: Id
    event: OnboardingEventType
    state: ApplicationState
    left: ApplicationState
    seconds: int
    at: UtcDatetime
    by: OnboardingActorKind
    note_id: Id | None = None


class Application(Model):
    """An application as it is stored, its sealed parts opened; `details` is None where they were erased."""

    id: Id
    state: ApplicationState
    version: int
    body_hash: str
    slug: str
    practice_name: str
    email_verified: bool
    details: ApplicationDetails | None
    documents: tuple[DocumentRef, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: dict[str, str] = Field(default_factory=dict)
    clock: ReviewClock | None = None
    due_at: UtcDatetime | None = None
    waiting_for: WaitingFor | None = None
    history: tuple[OnboardingHistoryEntry, ...] = ()
    created_at: UtcDatetime
    updated_at: UtcDatetime

    @property
    def made(self) -> PracticeIds:
        """The ids of what is made of it."""
        return PracticeIds.of(self.id)


class ApplicationQuery(Model):
    """Filters of the reviewers' list."""

    state: ApplicationState | None = None
    overdue_at: UtcDatetime | None = Field(default=None, description="Only those due before this instant.")
    limit: int = Field(default=20, ge=1, le=100)


class OnboardingEvent(Model):
    """One entry of an application's outbox: ids and names only."""

    id: Id
    type: OnboardingEventType
    at: UtcDatetime
    actor: OnboardingActor
    application_id: Id
    state: ApplicationState
    left: ApplicationState
    seconds: int
    version: int


class PracticeIds(Model):
    """The ids of a practice: they follow from its application's, so that making it twice makes it once."""

    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    service_id: Id
    invitation_id: Id

    @classmethod
    def of(cls, application_id: str) -> PracticeIds:
        """Those of one application."""
        key = application_id.partition("_")[2]
        return cls(
            tenant_id=f"tnt_{key}",
            clinic_id=f"cln_{key}",
            provider_id=f"prv_{key}",
            service_id=f"svc_{key}",
            invitation_id=f"inv_{key}",
        )


def application_of(provider_id: str) -> str:
    """The application that a provider's profile would have come from; whether there was one is another matter."""
    return f"app_{provider_id.partition('_')[2]}"


class Readiness(Model):
    """Whether somebody could book, and what is missing until then."""

    has_service: bool
    has_hours: bool

    @property
    def ready(self) -> bool:
        """Whether the practice may go live."""
        return self.has_service and self.has_hours

    @property
    def missing(self) -> Literal["services", "hours", "nothing"]:
        """The first thing that the owner must still do."""
        if not self.has_service:
            return "services"
        return "nothing" if self.has_hours else "hours"
