"""What the onboarding of a practice has done: its document's steps, the checks, the letters and the look at its hours.

Payloads carry ids only; each step loads what it needs. Repeating one changes nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from temporalio import activity

from activities.failures import typed_failures
from models.application_tokens import LINK_LIFETIME, Purpose, application_token
from models.availability import slots
from models.base import Id, Model, UtcDatetime
from models.errors import Code, VisitNowError, not_found
from models.identity import PLATFORM, System
from models.messaging import Channel, Message, Template
from models.notice_ports import Messenger
from models.onboarding import (
    IDENTITY_PROOF,
    REGISTRATION_CERTIFICATE,
    Application,
    ApplicationDetails,
    CheckName,
    CheckOutcome,
    Finding,
    Move,
    Moved,
    Readiness,
    registration_key,
)
from models.onboarding_letters import application_link, letter_params, practice_link, review_link
from models.onboarding_ports import Applications, Practices
from models.publishing_ports import Publications
from models.tenancy import slug_problem

ONBOARDING: Final = System("the onboarding of practices comes before there is a tenant")
LETTER_LIFETIME: Final = timedelta(days=3)
LOOK_AHEAD: Final = timedelta(days=31)
"""How far hours must lie ahead at most for somebody to be able to book them."""

NEEDED_DOCUMENTS: Final = frozenset({REGISTRATION_CERTIFICATE, IDENTITY_PROOF})
"""What a reviewer wants to see; any one of them is something to look at, none of them cannot be approved."""


class LookAt(Model):
    """One application, looked at now."""

    application_id: Id
    at: UtcDatetime


class Letter(Model):
    """A letter to the owner, or to the reviewers where `to` says so; `note_id` names the reviewer's words in it."""

    application_id: Id
    template: Template
    message_id: Id
    at: UtcDatetime
    to: Literal["owner", "reviewers"] = "owner"
    note_id: Id | None = None
    missing: str = ""


class OnboardingActivities:
    """The steps around the review."""

    def __init__(
        self,
        applications: Applications,
        practices: Practices,
        publications: Publications,
        messenger: Messenger,
        *,
        secret: bytes,
        public_url: str,
        reviewers: str | None,
    ) -> None:
        """`secret` signs the links in letters; `reviewers` is the mailbox that is told of reviews that come due."""
        self._applications = applications
        self._practices = practices
        self._publications = publications
        self._messenger = messenger
        self._secret = secret
        self._public_url = public_url
        self._reviewers = reviewers

    @activity.defn(name="onboarding.advance")
    async def advance(self, step: Move) -> Moved:
        """Change the application's state, clock and events."""
        with typed_failures():
            return await self._applications.advance(ONBOARDING, step)

    @activity.defn(name="onboarding.check")
    async def check(self, look: LookAt) -> tuple[Finding, ...]:
        """Everything that is looked at before a person decides."""
        with typed_failures():
            application = await self._found(look.application_id)
            details = _details(application)
            return (
                _registration(details),
                await self._practitioner(details),
                await self._slug(application, details),
                _documents(application),
            )

    @activity.defn(name="onboarding.write")
    async def write(self, letter: Letter) -> None:
        """Write to the owner or the reviewers; nobody is written to where there is no address."""
        with typed_failures():
            application = await self._found(letter.application_id)
            to = self._reviewers if letter.to == "reviewers" else None
            if letter.to == "owner" and application.details is not None:
                to = application.details.owner.email
            if to is not None:
                await self._messenger.send(self._message(application, letter, to))

    @activity.defn(name="onboarding.readiness")
    async def readiness(self, look: LookAt) -> Readiness:
        """Whether somebody could book: a service on offer, and a time for it that is still to come."""
        with typed_failures():
            made = (await self._found(look.application_id)).made
            found = await self._publications.find(ONBOARDING, made.provider_id)
        zone = ZoneInfo(found.timezone)
        first, last = look.at.astimezone(zone).date(), (look.at + LOOK_AHEAD).astimezone(zone).date()
        bookable = any(
            slots(
                found.availability,
                service.timing,
                zone,
                first,
                last,
                now=look.at,
                busy=(),
                min_notice_minutes=0,
                horizon_days=LOOK_AHEAD.days,
            )
            for service in found.provider.services
        )
        return Readiness(has_service=bool(found.provider.services), has_hours=bookable)

    @activity.defn(name="onboarding.show")
    async def show(self, look: LookAt) -> None:
        """Let everybody find and book the practice."""
        await self._set_live(look.application_id, live=True)

    @activity.defn(name="onboarding.hide")
    async def hide(self, look: LookAt) -> None:
        """Let nobody find or book the practice any more; what was booked stays booked."""
        await self._set_live(look.application_id, live=False)

    async def _set_live(self, application_id: str, *, live: bool) -> None:
        with typed_failures():
            made = (await self._found(application_id)).made
            await self._practices.set_live(ONBOARDING, made.tenant_id, live=live)

    async def _found(self, application_id: str) -> Application:
        application = await self._applications.find(ONBOARDING, application_id)
        if application is None:
            raise not_found()
        return application

    async def _practitioner(self, details: ApplicationDetails) -> Finding:
        told = details.practitioner
        key = registration_key(told.council, told.registration_number, told.registration_year)
        known = await self._practices.practitioner_by_registration(ONBOARDING, key)
        if known is None:
            return _finding(CheckName.PRACTITIONER, CheckOutcome.PASSED, "nobody here has this registration yet")
        if known.name.casefold().split() == told.name.casefold().split():
            text = f"this registration is {known.id}'s, who gets a second profile"
            return _finding(CheckName.PRACTITIONER, CheckOutcome.PASSED, text)
        text = f"this registration is {known.id}'s, whose name is written otherwise"
        return _finding(CheckName.PRACTITIONER, CheckOutcome.REVIEW, text)

    async def _slug(self, application: Application, details: ApplicationDetails) -> Finding:
        problem = slug_problem(details.slug)
        if problem is not None:
            return _finding(CheckName.SLUG, CheckOutcome.BLOCKING, problem)
        if await self._practices.slug_taken(ONBOARDING, details.slug, application.made.tenant_id):
            return _finding(CheckName.SLUG, CheckOutcome.BLOCKING, "the name belongs to another practice")
        return _finding(CheckName.SLUG, CheckOutcome.PASSED, "the name is free")

    def _message(self, application: Application, letter: Letter, to: str) -> Message:
        return Message(
            id=letter.message_id,
            tenant_id=PLATFORM,
            subject_id=application.id,
            channel=Channel.EMAIL,
            to=to,
            template=letter.template,
            params=letter_params(
                application,
                link=self._link(application, letter),
                note=application.notes.get(letter.note_id or "", ""),
                missing=letter.missing,
            ),
            expires_at=letter.at + LETTER_LIFETIME,
        )

    def _link(self, application: Application, letter: Letter) -> str:
        """Only the owner's own letters open the application."""
        if letter.to == "reviewers":
            return review_link(self._public_url, application.id)
        if letter.template is Template.PRACTICE_LIVE:
            return practice_link(self._public_url, application.slug)
        token = application_token(self._secret, Purpose.LINK, application.id, letter.at + LINK_LIFETIME)
        return application_link(self._public_url, application.id, token)


def _details(application: Application) -> ApplicationDetails:
    if application.details is None:
        raise VisitNowError(Code.STATE_CONFLICT, "the application was erased")
    return application.details


def _finding(check: CheckName, outcome: CheckOutcome, detail: str) -> Finding:
    return Finding(check=check, outcome=outcome, detail=detail)


def _registration(details: ApplicationDetails) -> Finding:
    """There is no register to ask, and no format that holds for all councils: a person compares it with the paper."""
    told = details.practitioner
    text = "council, number and year are given; compare them with the certificate"
    if told.registration_year > datetime.now(ZoneInfo(details.clinic.timezone)).year:
        text = "the year of registration lies ahead; ask the applicant"
    return _finding(CheckName.REGISTRATION, CheckOutcome.REVIEW, text)


def _documents(application: Application) -> Finding:
    kinds = {one.kind for one in application.documents}
    if not kinds:
        return _finding(CheckName.DOCUMENTS, CheckOutcome.BLOCKING, "no document was handed in")
    missing = sorted(NEEDED_DOCUMENTS - kinds)
    if missing:
        return _finding(CheckName.DOCUMENTS, CheckOutcome.REVIEW, f"not handed in: {', '.join(missing)}")
    return _finding(CheckName.DOCUMENTS, CheckOutcome.PASSED, "registration and identity were handed in")
