"""What the caller has agreed to, for themselves and for those they book for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from fastapi import Request

from adapters.notices import FileNotices
from adapters.tokens import Statement, Statements
from api.audit import AuditLog
from api.problems import invalid
from models.consent_ports import ConsentLedger
from models.consents import OF_DEPENDANTS, Answer, Capacity, Consent, ConsentNotice, Means, Purpose, holds, needs_answer
from models.errors import Code, VisitNowError, not_found
from models.identity import PLATFORM, Principal, Role, Subject
from models.identity_ports import Dependants

_SIGNED: Final = ("purpose", "granted", "notice_version", "language", "notice_sha256", "means", "capacity")


class About(NamedTuple):
    """Whose consents, as what the caller answers, and what is asked."""

    id: str
    capacity: Capacity
    purposes: Sequence[Purpose]


class Standing(NamedTuple):
    """How one purpose stands: today's notice and the answer that holds."""

    notice: ConsentNotice
    last: Consent | None

    @property
    def allowed(self) -> bool:
        """Whether data may be used for it now."""
        return holds(self.notice.purpose, self.last, self.notice.version)

    @property
    def needs_answer(self) -> bool:
        """Whether the notice is to be shown."""
        return needs_answer(self.last, self.notice.version)


class Receipt(NamedTuple):
    """An answer, the notice that it was given to, and our signature under both."""

    consent: Consent
    notice: ConsentNotice
    signature: str


class Consenting:
    """Shows notices, takes answers and proves them."""

    def __init__(
        self,
        consents: ConsentLedger,
        dependants: Dependants,
        notices: FileNotices,
        statements: Statements,
        audit: AuditLog,
    ) -> None:
        """The ledger, those who may be answered for, the notices, what signs receipts, and the audit."""
        self._consents = consents
        self._dependants = dependants
        self._notices = notices
        self._statements = statements
        self._audit = audit

    async def about(self, caller: Principal, dependant_id: str | None) -> About:
        """The caller, or one of those they book for. Raises `not_found`."""
        if dependant_id is None:
            return About(caller.subject, Capacity.SELF, tuple(Purpose))
        found = await self._dependants.find(Subject(caller.subject), dependant_id)
        if found is None:
            raise not_found()
        minor = found.is_minor(datetime.now(UTC).date())
        return About(found.id, Capacity.GUARDIAN if minor else Capacity.REPRESENTATIVE, OF_DEPENDANTS)

    async def require(self, caller: Principal, dependant_id: str | None, purpose: Purpose) -> None:
        """Raise `consent_required` where data of theirs may not be used for that."""
        if not await self._consents.allows(Subject(caller.subject), dependant_id or caller.subject, purpose):
            raise VisitNowError(Code.CONSENT_REQUIRED)

    async def standing(self, caller: Principal, about: About, locale: str) -> list[Standing]:
        """Every purpose that is asked, each with today's notice in the reader's language."""
        return [await self.one(caller, about, purpose, locale) for purpose in about.purposes]

    async def one(self, caller: Principal, about: About, purpose: Purpose, locale: str) -> Standing:
        """One of them. Raises `not_found` for what is not asked about them."""
        if purpose not in about.purposes:
            raise not_found()
        last = await self._consents.last(Subject(caller.subject), about.id, purpose)
        return Standing(self._notices.current(purpose, locale), last)

    async def answer(
        self, request: Request, caller: Principal, about: About, purpose: Purpose, said: tuple[bool, int, str]
    ) -> Standing:
        """Take an answer: yes or no, the version and the language of the notice that was read.

        A yes must be to the notice of today, else it is `stale`; a no is taken to any that there was. Raises
        `not_found`, `invalid` and `stale`.
        """
        if purpose not in about.purposes:
            raise not_found()
        granted, version, language = said
        notice = self._notices.find(purpose, version, language)
        if notice is None:
            raise invalid("notice_version", "unknown", "There is no such notice in that language")
        if granted and version < self._notices.version(purpose):
            raise VisitNowError(Code.STALE, "The notice has changed: read it again")
        consent = await self._consents.record(
            Subject(caller.subject),
            Answer(
                subject_id=caller.subject,
                about=about.id,
                purpose=purpose,
                granted=granted,
                notice_version=version,
                language=language,
                notice_sha256=notice.digest,
                capacity=about.capacity,
            ),
        )
        await self._audit.consent(request, caller, consent)
        return Standing(self._notices.current(purpose, language), consent)

    async def withdraw_by_link(self, request: Request, subject_id: str, purpose: Purpose) -> None:
        """Take a no that came by a link in a message; whoever holds the link is taken for its reader."""
        notice = self._notices.current(purpose, "en")
        consent = await self._consents.record(
            Subject(subject_id),
            Answer(
                subject_id=subject_id,
                about=subject_id,
                purpose=purpose,
                granted=False,
                notice_version=notice.version,
                language=notice.language,
                notice_sha256=notice.digest,
                means=Means.LINK,
            ),
        )
        holder = Principal(subject=subject_id, tenant_id=PLATFORM, roles=frozenset({Role.PATIENT}), session_id="link")
        await self._audit.consent(request, holder, consent)

    async def receipt(self, caller: Principal, about: About, purpose: Purpose) -> Receipt:
        """The proof of the answer that holds. Raises `not_found` where nothing was ever said."""
        last = await self._consents.last(Subject(caller.subject), about.id, purpose)
        notice = None if last is None else self._notices.find(purpose, last.notice_version, last.language)
        if last is None or notice is None or notice.digest != last.notice_sha256:
            raise not_found()
        facts = {
            "jti": last.id,
            "sub": last.about,
            "by": last.subject_id,
            "iat": int(last.at.timestamp()),
            **last.model_dump(mode="json", include=set(_SIGNED)),
        }
        return Receipt(last, notice, self._statements.sign(Statement.CONSENT, facts))
