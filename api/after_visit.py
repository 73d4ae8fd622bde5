"""What the links of messages after a visit open: its rating and its summary, for its patient, without signing in."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from babel.dates import format_date
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from api.audit import AuditLog
from api.filing import Filing
from api.link_pages import POLICY, STYLE
from api.reviews import Reviewing
from models.booking import Appointment
from models.consultation import Record
from models.consultation_ports import Consultations
from models.deletions_ports import Leaves
from models.documents import LINK_LIFETIME, DocumentKind
from models.errors import Code, VisitNowError, not_found
from models.identity import PLATFORM, Principal, Public, Role, Subject
from models.links import LinkPurpose, read_link
from models.ports import Appointments, Directory
from models.reminder_ports import Readers
from models.reviews import Opinion

_PAGES: Final = Path(__file__).parent / "pages" / "after"
_FALLBACK: Final = "en"


class AfterVisit(NamedTuple):
    """A link that is good: its visit, and whoever holds it."""

    appointment: Appointment
    holder: Principal
    locale: str


class Linked(NamedTuple):
    """A document of the visit, and where it is read for the next minutes."""

    name: str
    kind: DocumentKind
    link: str


class VisitSources(NamedTuple):
    """What is read of a visit and its patient; whoever `leaves` opens nothing any more."""

    appointments: Appointments
    consultations: Consultations
    directory: Directory
    readers: Readers
    leaves: Leaves


class AfterVisits:
    """Opens links of completed visits and does what their holders ask."""

    def __init__(
        self,
        sources: VisitSources,
        reviewing: Reviewing,
        *,
        filing: Filing,
        audit: AuditLog,
        secret: bytes,
    ) -> None:
        """`secret` is what links were signed with."""
        self._appointments, self._consultations, self._directory, self._readers, self._leaves = sources
        self._reviewing = reviewing
        self._filing = filing
        self._audit = audit
        self._secret = secret

    async def open(self, purpose: LinkPurpose, token: str) -> AfterVisit:
        """What a token opens. Raises `not_found` for what is no link of ours, `link_spent` for one that is over."""
        try:
            link = read_link(self._secret, purpose, token, datetime.now(UTC))
        except VisitNowError as error:
            over = error.code is Code.TOKEN_EXPIRED
            raise (VisitNowError(Code.LINK_SPENT) if over else not_found()) from error
        scope = Subject(link.subject_id)
        if await self._leaves(scope, link.subject_id) is not None:
            raise VisitNowError(Code.LINK_SPENT)
        appointment = await self._appointments.find(scope, link.appointment_id, open_sealed=False)
        if appointment is None:
            raise not_found()
        holder = Principal(
            subject=link.subject_id, tenant_id=PLATFORM, roles=frozenset({Role.PATIENT}), session_id="link"
        )
        reader = await self._readers.reader(scope, link.subject_id)
        return AfterVisit(appointment, holder, _FALLBACK if reader is None else reader.locale)

    async def doctor(self, opened: AfterVisit) -> str:
        """Whom they saw; empty where nobody can find them any more."""
        known = await self._directory.profiles(Public(), [opened.appointment.provider_id])
        return next((one.name for one in known.values()), "")

    async def opinion(self, opened: AfterVisit) -> Opinion | None:
        """What they have said so far."""
        try:
            return (await self._reviewing.own(opened.holder, opened.appointment.id)).opinion
        except VisitNowError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return None

    async def rate(self, request: Request, opened: AfterVisit, opinion: Opinion) -> None:
        """Take their opinion as if they had signed in. Raises `state_conflict`."""
        await self._audit.link_used(request, opened.holder, opened.appointment)
        await self._reviewing.give(request, opened.holder, opened.appointment, opinion)

    async def record(self, request: Request, opened: AfterVisit) -> Record:
        """The summary that stands; that it was looked at is noted. Raises `not_found` and `erased`."""
        await self._audit.link_used(request, opened.holder, opened.appointment)
        newest = await self._consultations.newest(Subject(opened.holder.subject), opened.appointment.id)
        if newest is None:
            raise not_found()
        if newest.record is None:
            raise VisitNowError(Code.ERASED)
        return newest.record

    async def documents(self, opened: AfterVisit) -> list[Linked]:
        """The visit's documents but for what was erased, oldest first."""
        found = await self._filing.of_appointment(Subject(opened.holder.subject), opened.appointment.id)
        return [
            Linked(one.contents.name, one.kind, self._filing.link(opened.holder, one))
            for one in found
            if one.contents is not None
        ]


class AfterVisitPages:
    """Plain pages without a script, in the reader's language; the words are those of one file per language."""

    def __init__(self) -> None:
        """The files are read once."""
        self._environment = Environment(loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined)
        self._words: dict[str, Mapping[str, Any]] = {
            path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(_PAGES.glob("*.toml"))
        }

    def review(
        self, path: str, wish: str | None, opened: AfterVisit, doctor: str, opinion: Opinion | None, *, given: bool
    ) -> HTMLResponse:
        """The form, with what was said so far; `given`: it has just been said."""
        said = {"rating": None, "nps": None, "comment": None} if opinion is None else opinion.model_dump()
        shown = {**said, "comment": said["comment"] or "", "doctor": doctor, "given": given}
        return self._page("review", path, wish, opened, **shown)

    def summary(
        self, path: str, wish: str | None, opened: AfterVisit, record: Record, documents: Sequence[Linked]
    ) -> HTMLResponse:
        """What the doctor wrote, and what was added to the visit."""
        on = record.summary.follow_up_on
        language = self._language(wish or opened.locale)
        follow_up = format_date(on, "full", locale=f"{language}_IN") if on is not None else ""
        shown = {"record": record, "follow_up": follow_up, "documents": documents}
        return self._page("summary", path, wish, opened, **shown, minutes=LINK_LIFETIME // timedelta(minutes=1))

    def _page(self, page: str, path: str, wish: str | None, opened: AfterVisit, **shown: object) -> HTMLResponse:
        language, start = self._language(wish or opened.locale), opened.appointment.start
        there = start.astimezone(ZoneInfo(opened.appointment.timezone))
        text = self._environment.get_template(f"{page}.html").render(
            page=page,
            path=path,
            language=language,
            languages={code: words["language"] for code, words in self._words.items()},
            words=self._words[language],
            style=Markup(STYLE),  # noqa: S704  a file of ours
            start=start,
            day=format_date(there.date(), "full", locale=f"{language}_IN"),
            **shown,
        )
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "Content-Language": language}
        return HTMLResponse(text, headers=headers)

    def _language(self, locale: str) -> str:
        language = locale.replace("_", "-").partition("-")[0].lower()
        return language if language in self._words else _FALLBACK
