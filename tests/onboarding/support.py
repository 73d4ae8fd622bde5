"""An office that reviews applications: the real workflow on real servers, with letters that a test can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from activities.onboarding import OnboardingActivities
from activities.practices import PracticeActivities
from adapters.mongo.repositories import Repositories
from models.errors import Code, VisitNowError
from models.identity import Invitation, Scope, Subject
from models.ids import onboarding_workflow_id, random_id
from models.messaging import Message, Template
from models.onboarding import (
    REGISTRATION_CERTIFICATE,
    Answer,
    ApplicantClinic,
    ApplicantPractitioner,
    Application,
    ApplicationDetails,
    ApplicationState,
    Command,
    Decide,
    DecisionKind,
    DocumentRef,
    OnboardingActor,
    OnboardingActorKind,
    OnboardingPolicy,
    Owner,
    StartOnboarding,
)
from models.operations import WorkflowStatus
from tests.stack import eventually
from workers.runner import workflow_runner
from workflows.onboarding import OnboardingWorkflow
from workflows.policies import BOOKING_QUEUE

REVIEWER = OnboardingActor(kind=OnboardingActorKind.REVIEWER, id="usr_reviewer")
SECRET = b"made-up secret of the tests"


class Letters:
    """Keeps what was sent, once per id, as a messenger does."""

    def __init__(self) -> None:
        self.sent: dict[str, Message] = {}

    async def send(self, message: Message) -> None:
        self.sent.setdefault(message.id, message)

    def about(self, application_id: str) -> list[Template]:
        """What was written about an application, in order."""
        return [one.template for one in self.sent.values() if one.subject_id == application_id]


class Invitations:
    """Keeps invitations, once per id; refuses where it is told to."""

    def __init__(self) -> None:
        self.issued: dict[str, Invitation] = {}
        self.refuses = False

    async def issue(self, scope: Scope, invitation: Invitation) -> None:
        del scope
        if self.refuses:
            raise VisitNowError(Code.STATE_CONFLICT)
        self.issued.setdefault(invitation.id, invitation)


def details(slug: str, number: str = "KMC-1", **changes: object) -> ApplicationDetails:
    """What an applicant tells."""
    told = ApplicationDetails(
        practice_name="Nirmala Eye Care",
        slug=slug,
        owner=Owner(name="Nirmala Joshi", email="nirmala@eyecare.example", phone="+919812345678"),
        clinic=ApplicantClinic(address="12 MG Road, Nashik 422001", timezone="Asia/Kolkata"),
        practitioner=ApplicantPractitioner(
            name="Dr. Nirmala Joshi",
            council="Karnataka Medical Council",
            registration_number=number,
            registration_year=2009,
            specialties=("Ophthalmology",),
        ),
    )
    return told.model_copy(update=changes)


def a_document(kind: str = REGISTRATION_CERTIFICATE) -> DocumentRef:
    return DocumentRef(
        id=random_id("doc"),
        kind=kind,
        media_type="application/pdf",
        size=100,
        sha256="00" * 32,
        scanned_by="type check",
        at=datetime.now(UTC),
        name="certificate.pdf",
    )


@dataclass
class Office:
    """Everything that a test of an application needs."""

    stores: Repositories
    client: Client
    letters: Letters = field(default_factory=Letters)
    invitations: Invitations = field(default_factory=Invitations)

    def worker(self) -> Worker:
        """A worker in this process."""
        onboarding = OnboardingActivities(
            self.stores.applications,
            self.stores.practices,
            self.stores.publications,
            self.letters,
            secret=SECRET,
            public_url="https://visitnow.example",
            reviewers="reviewers@visitnow.example",
        )
        practices = PracticeActivities(self.stores.applications, self.stores.practices, self.invitations)
        steps = [getattr(one, name) for one in (onboarding, practices) for name in dir(one) if not name.startswith("_")]
        return Worker(
            self.client,
            task_queue=BOOKING_QUEUE,
            workflows=[OnboardingWorkflow],
            activities=[one for one in steps if hasattr(one, "__temporal_activity_definition")],
            workflow_runner=workflow_runner(),
        )

    async def applies(
        self, told: ApplicationDetails, policy: OnboardingPolicy | None = None, *, documents: int = 1
    ) -> Applicant:
        """Somebody whose mailbox is proved, with a draft."""
        application_id, now = random_id("app"), datetime.now(UTC)
        scope = Subject(application_id)
        assert await self.stores.applications.insert(scope, application_id, told, "hash", now)
        for _ in range(documents):
            await self.stores.applications.add_document(scope, application_id, a_document(), now)
        await self.stores.applications.verify_email(scope, application_id, now)
        handle = await self.client.start_workflow(
            OnboardingWorkflow.run,
            StartOnboarding(application_id=application_id, policy=policy or OnboardingPolicy()),
            id=onboarding_workflow_id(application_id),
            task_queue=BOOKING_QUEUE,
            task_timeout=timedelta(seconds=3),
        )
        return Applicant(self, application_id, handle)

    def applicant(self, application_id: str) -> Applicant:
        """The people of an application that is known."""
        workflow_id = onboarding_workflow_id(application_id)
        return Applicant(self, application_id, self.client.get_workflow_handle_for(OnboardingWorkflow.run, workflow_id))


async def add_a_document(office: Office, applicant: Applicant) -> None:
    """The applicant hands in a certificate."""
    scope = Subject(applicant.id)
    await office.stores.applications.add_document(scope, applicant.id, a_document(), datetime.now(UTC))


@dataclass
class Applicant:
    """One application and what its people do with it."""

    office: Office
    id: str
    handle: WorkflowHandle[OnboardingWorkflow, ApplicationState]

    @property
    def _command(self) -> Command:
        actor = OnboardingActor(kind=OnboardingActorKind.APPLICANT, id=self.id)
        return Command(id=random_id("cmd"), actor=actor)

    async def submit(self) -> Answer:
        return await self.handle.execute_update(OnboardingWorkflow.submit, self._command)

    async def withdraw(self) -> Answer:
        return await self.handle.execute_update(OnboardingWorkflow.withdraw, self._command)

    async def suspend(self) -> Answer:
        command = Command(id=random_id("cmd"), actor=REVIEWER)
        return await self.handle.execute_update(OnboardingWorkflow.suspend, command)

    async def decide(self, kind: DecisionKind, note: str = "") -> Answer:
        decision = Decide(decision_id=random_id("dec"), kind=kind, actor=REVIEWER)
        if note:
            await self.office.stores.applications.keep_note(Subject(self.id), self.id, decision.decision_id, note)
        return await self.handle.execute_update(OnboardingWorkflow.decide, decision)

    async def publish(self) -> None:
        await self.handle.signal(OnboardingWorkflow.published)

    async def status(self) -> WorkflowStatus:
        return await self.handle.query(OnboardingWorkflow.status)

    async def look(self) -> Application:
        found = await self.office.stores.applications.find(Subject(self.id), self.id)
        assert found is not None
        return found

    async def sent(self) -> list[Message]:
        return [one for one in self.office.letters.sent.values() if one.subject_id == self.id]

    async def letters(self) -> list[Template]:
        return self.office.letters.about(self.id)

    async def reaches(self, state: ApplicationState) -> Application:
        return await eventually(self.look, lambda seen: seen.state is state, seconds=30)

    async def until(self, good: Callable[[Application], bool]) -> Application:
        return await eventually(self.look, good, seconds=30)
