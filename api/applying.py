"""What an applicant does before there is an account: apply, prove the mailbox, change what was told."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from api.problems import invalid
from models.application_tokens import (
    LINK_LIFETIME,
    TOKEN_LIFETIME,
    Purpose,
    application_token,
    check_application_token,
)
from models.documents_ports import Scanner
from models.errors import Code, VisitNowError, not_found
from models.files import in_one_piece, media_type_of
from models.identity import PLATFORM, Subject, System
from models.ids import derived_id, random_id
from models.messaging import Channel, Message, Template
from models.notice_ports import Messenger
from models.onboarding import EDITABLE, Application, ApplicationDetails, ApplicationState, DocumentRef, PracticeIds
from models.onboarding_letters import application_link, letter_params
from models.onboarding_ports import Applications, DocumentStore, Practices
from models.tenancy import slug_problem
from workflows.gateway import WorkflowGateway

APPLY_ROUTE: Final = "POST /v1/onboarding/applications"
NAMES: Final = System("whether a name is free is asked before there is a tenant")


class Applicants:
    """The steps that need no workflow, and the start of the one that the others do."""

    def __init__(
        self,
        applications: Applications,
        practices: Practices,
        messenger: Messenger,
        gateway: WorkflowGateway,
        files: DocumentStore,
        scanner: Scanner,
        *,
        secret: bytes,
        public_url: str,
    ) -> None:
        """`secret` signs links and tokens and keys the ids of retried requests."""
        self._applications = applications
        self._practices = practices
        self._messenger = messenger
        self._gateway = gateway
        self._files = files
        self._scanner = scanner
        self._secret = secret
        self._public_url = public_url

    async def apply(self, details: ApplicationDetails, body_hash: str, key: str | None) -> Application:
        """Keep a draft and write to its owner. Raises `invalid`, `slug_taken` and `idempotency_key_reused`."""
        application_id = random_id("app")
        if key is not None:
            owner = details.owner.email.casefold()
            application_id = derived_id("app", self._secret, PLATFORM, owner, APPLY_ROUTE, key)
        existing = await self._applications.find(Subject(application_id), application_id)
        if existing is not None:
            if existing.body_hash != body_hash:
                raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED)
            return existing
        await self.check_slug(details.slug, application_id)
        now = datetime.now(UTC)
        await self._applications.insert(Subject(application_id), application_id, details, body_hash, now)
        application = await self.found(application_id)
        await self._send_link(application, f"msg_{application_id}:verify")
        return application

    async def send_link_again(self, application_id: str) -> None:
        """Write to the owner once more; nothing tells whether there is such an application."""
        application = await self._applications.find(Subject(application_id), application_id)
        if application is not None:
            await self._send_link(application, f"msg_{random_id('lnk')}")

    async def verify(self, application_id: str, token: str) -> Application:
        """The mailbox is the owner's. Raises `not_found`, `token_invalid` and `token_expired`."""
        now = datetime.now(UTC)
        application = await self.found(application_id)
        check_application_token(self._secret, Purpose.LINK, application_id, token, now)
        await self._applications.verify_email(Subject(application_id), application_id, now)
        if application.state is ApplicationState.DRAFT:
            await self._gateway.onboarding.start(application)
        return await self.found(application_id)

    def access_token(self, application_id: str) -> str:
        """A token that opens this application only."""
        return application_token(self._secret, Purpose.APPLICANT, application_id, datetime.now(UTC) + TOKEN_LIFETIME)

    async def amend(self, application: Application, details: ApplicationDetails) -> Application:
        """Change what was told. Raises `invalid`, `slug_taken` and `state_conflict`."""
        if details.slug != application.slug:
            await self.check_slug(details.slug, application.id)
        scope = Subject(application.id)
        await self._applications.amend(scope, application.id, application.version, details, datetime.now(UTC))
        return await self.found(application.id)

    async def add_document(self, application: Application, kind: str, name: str, content: bytes) -> DocumentRef:
        """Keep a file, encrypted. Raises `document_refused`, `state_conflict` and `unavailable`.

        Its id follows from its content, so that the same file sent again is there once.
        """
        media_type = media_type_of(content)
        if media_type is None or not await self._scanner.is_clean(in_one_piece(content)):
            raise VisitNowError(Code.DOCUMENT_REFUSED)
        if application.state not in EDITABLE:
            raise VisitNowError(Code.STATE_CONFLICT)
        digest, now = hashlib.sha256(content).hexdigest(), datetime.now(UTC)
        document = DocumentRef(
            id=derived_id("doc", self._secret, application.id, digest),
            kind=kind,
            media_type=media_type,
            size=len(content),
            sha256=digest,
            scanned_by=self._scanner.name,
            at=now,
            name=name,
        )
        await self._files.keep(application.id, document.id, content)
        await self._applications.add_document(Subject(application.id), application.id, document, now)
        return document

    async def document(self, application: Application, document_id: str) -> tuple[DocumentRef, bytes]:
        """One file in clear. Raises `not_found` and `unavailable`."""
        known = next((one for one in application.documents if one.id == document_id), None)
        content = await self._files.read(application.id, document_id) if known is not None else None
        if known is None or content is None:
            raise not_found()
        return known, content

    async def found(self, application_id: str) -> Application:
        """One application. Raises `not_found`."""
        application = await self._applications.find(Subject(application_id), application_id)
        if application is None:
            raise not_found()
        return application

    async def keep_note(self, application_id: str, note_id: str, text: str | None) -> None:
        """Keep the words that go with a command."""
        if text is not None:
            await self._applications.keep_note(Subject(application_id), application_id, note_id, text)

    async def check_slug(self, slug: str, application_id: str) -> None:
        """Raise `invalid` for a name that nobody may have, `slug_taken` for one that somebody has."""
        problem = slug_problem(slug)
        if problem is not None:
            raise invalid("slug", f"slug_{problem}", "This name cannot be a practice's address")
        if await self._practices.slug_taken(NAMES, slug, PracticeIds.of(application_id).tenant_id):
            raise VisitNowError(Code.SLUG_TAKEN)

    async def _send_link(self, application: Application, message_id: str) -> None:
        if application.details is None:
            return
        now = datetime.now(UTC)
        token = application_token(self._secret, Purpose.LINK, application.id, now + LINK_LIFETIME)
        await self._messenger.send(
            Message(
                id=message_id,
                tenant_id=PLATFORM,
                subject_id=application.id,
                channel=Channel.EMAIL,
                to=application.details.owner.email,
                template=Template.EMAIL_VERIFICATION,
                params=letter_params(application, link=application_link(self._public_url, application.id, token)),
                expires_at=now + LINK_LIFETIME,
            )
        )
